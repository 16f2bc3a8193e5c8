"""Programs that find the rows in what a file has, between its kind (`sources`) and the columns of a row (`mapping`): in
JSON, its lists; and, as conversations, trees of replies, messages with the conversation they belong to, and chats of
people. What one row says by itself is an entry of a table (`mapping.published`).

An importer of conversations says by the first rows how sure it is that they are its own (`detect`), and reads them
(`read`).
"""
