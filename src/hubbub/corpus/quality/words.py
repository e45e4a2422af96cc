"""Texts that models write in place of the one asked for. Looked for in case-folded text, as plain substrings."""

REFUSALS = (
    "as an ai language model",
    "as an ai assistant",
    "as a language model",
    "as a large language model",
    "i'm just an ai",
    "i am an ai",
    "i cannot fulfill",
    "i can't fulfill",
    "i cannot assist with",
    "i can't assist with",
    "i'm sorry, but i can",
    "i am sorry, but i can",
    "i'm unable to provide",
    "i am unable to provide",
    "my training data",
    "my knowledge cutoff",
    "как языковая модель",
    "как искусственный интеллект",
    "как ии-",
    "я — языковая модель",
    "я языковая модель",
    "я всего лишь языковая",
    "я не могу выполнить",
    "я не могу помочь с",
    "извините, но я не могу",
    "к сожалению, я не могу",
    "мои обучающие данные",
)
"""Said anywhere in the text."""
APOLOGIES = ("i'm sorry", "i am sorry", "i apologize", "извините", "прошу прощения")
"""Said at the start."""
PREAMBLES = (
    "sure, here",
    "sure! here",
    "certainly! here",
    "certainly, here",
    "of course! here",
    "here is ",
    "here's ",
    "here are ",
    "конечно, вот",
    "конечно! вот",
    "вот текст",
    "вот статья",
    "вот ваш",
    "вот несколько",
)
"""Said at the start: the model speaks to whoever asked. A first line of this kind that ends in a colon is cut off."""
LEAKS = (
    "<|",
    "|>",
    "<think>",
    "</think>",
    "[inst]",
    "[/inst]",
    "<<sys>>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<bos>",
    "<eos>",
    "</s>",
    "### instruction",
    "### response",
    "{{",
    "}}",
    "{%",
    "%}",
    "[insert ",
    "[your name",
    "[вставьте",
    "[ваше имя",
)
"""Chat-template tokens and unfilled places."""
LEAK_SIGNS = "".join({leak[0] for leak in LEAKS})
SPEAKERS = ("assistant:", "user:", "system:", "human:", "ассистент:", "пользователь:")
"""At the start of a line: the model goes on with the chat by itself."""
