"""How text is compared: without case and accents, Vietnamese đ included."""

import unicodedata


def folded(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in plain if not unicodedata.combining(char)).replace("đ", "d")
