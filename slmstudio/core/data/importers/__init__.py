"""Programs that read many rows, or a text, together as conversations: trees of replies, messages with the conversation
they belong to, chats of people. What one row says by itself is an entry of a table (`mapping.published`).

Each importer says by its first rows how sure it is that they are its own (`detect`), and reads them (`read`).
"""
