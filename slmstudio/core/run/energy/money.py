"""Amounts of money as people read them, and the currency of a country."""

from __future__ import annotations

import re

SIGNS = {
    "INR": "₹", "USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥", "CNY": "CN¥", "AUD": "A$", "CAD": "CA$", "NZD": "NZ$",
    "SGD": "S$", "BRL": "R$", "KRW": "₩", "BDT": "৳", "NPR": "Rs ", "LKR": "Rs ", "PKR": "Rs ", "CHF": "CHF ",
    "AED": "AED ", "ZAR": "R", "NGN": "₦", "KES": "KSh ", "IDR": "Rp ", "VND": "₫", "PHP": "₱", "THB": "฿",
    "MYR": "RM ", "MXN": "MX$", "TRY": "₺", "PLN": "zł ", "SEK": "kr ", "NOK": "kr ", "DKK": "kr ", "CZK": "Kč ",
    "HUF": "Ft ", "RON": "lei ", "ILS": "₪", "SAR": "SAR ", "EGP": "E£", "TWD": "NT$", "HKD": "HK$", "UAH": "₴",
}
"""By ISO 4217, what comes before an amount. Others are written as their three letters."""
EURO = ("AT", "BE", "CY", "DE", "EE", "ES", "FI", "FR", "GR", "HR", "IE", "IT", "LT", "LU", "LV", "MT", "NL", "PT",
        "SI", "SK")
CURRENCIES = {
    **dict.fromkeys(EURO, "EUR"),
    "IN": "INR", "BT": "INR", "US": "USD", "GB": "GBP", "JP": "JPY", "CN": "CNY", "AU": "AUD", "CA": "CAD", "NZ": "NZD",
    "SG": "SGD", "BR": "BRL", "KR": "KRW", "BD": "BDT", "NP": "NPR", "LK": "LKR", "PK": "PKR", "CH": "CHF", "AE": "AED",
    "ZA": "ZAR", "NG": "NGN", "KE": "KES", "ID": "IDR", "VN": "VND", "PH": "PHP", "TH": "THB", "MY": "MYR", "MX": "MXN",
    "TR": "TRY", "PL": "PLN", "SE": "SEK", "NO": "NOK", "DK": "DKK", "CZ": "CZK", "HU": "HUF", "RO": "RON", "IL": "ILS",
    "SA": "SAR", "EG": "EGP", "TW": "TWD", "HK": "HKD", "UA": "UAH",
}
"""By country: what its people pay their electricity in."""
WHOLE = frozenset({"JPY", "KRW", "VND", "IDR", "HUF"})
"""Currencies that nobody splits."""
LAKH = frozenset({"INR", "NPR", "BDT", "PKR", "LKR"})
"""Currencies whose amounts are grouped as 12,34,567."""


def format_money(amount: float, currency: str) -> str:
    """An amount with its sign, grouped as where the currency is used; four decimals where it is less than a cent.

    >>> [format_money(a, c) for a, c in ((1234567.5, "INR"), (2.2, "INR"), (1234.5, "USD"), (0.004, "EUR"), (7, "XOF"))]
    ['₹12,34,567.50', '₹2.20', '$1,234.50', '€0.0040', 'XOF 7.00']
    """
    return _written(amount, currency, 0 if currency in WHOLE else 4 if 0 < amount < 0.01 else 2)


def format_price(price: float, currency: str) -> str:
    """A price of a kilowatt-hour: a hundredth of a cent is something there, and so is a hundredth of a yen.

    >>> [format_price(p, c) for p, c in ((7.12, "INR"), (8.5, "INR"), (0.3127, "EUR"), (31.27, "JPY"), (31, "JPY"))]
    ['₹7.12', '₹8.50', '€0.3127', '¥31.27', '¥31']
    """
    least = 0 if currency in WHOLE else 2
    exact = f"{price:.4f}".rstrip("0").partition(".")[2]
    return _written(price, currency, max(least, len(exact)))


def _written(amount: float, currency: str, digits: int) -> str:
    text = f"{amount:.{digits}f}"
    whole, _, cents = text.partition(".")
    pattern = r"(?<=\d)(?=(\d\d)*\d{3}$)" if currency in LAKH else r"(?<=\d)(?=(\d{3})+$)"
    grouped = re.sub(pattern, ",", whole)
    return f"{SIGNS.get(currency, f'{currency} ')}{grouped}{'.' if cents else ''}{cents}"
