"""The YAML front matter of a Markdown file.

Strings and numbers are written as JSON, which YAML takes as it is; lists and maps as YAML's blocks.
"""

import json


def front_matter(values):
    """`---`, the values as YAML, `---`.

    Args:
        values: dict of texts, numbers, lists and dicts.
    """
    return "\n".join(["---", *_lines(values), "---", ""])


def _lines(value, indent=""):
    if isinstance(value, dict):
        for key, child in value.items():
            if _is_block(child):
                yield f"{indent}{key}:"
                yield from _lines(child, indent + ("  " if isinstance(child, dict) else ""))
            else:
                yield f"{indent}{key}: {json.dumps(child, ensure_ascii=False)}"
    else:
        for child in value:
            if _is_block(child):
                first, *others = _lines(child, indent + "  ")
                yield f"{indent}- {first.strip()}"
                yield from others
            else:
                yield f"{indent}- {json.dumps(child, ensure_ascii=False)}"


def _is_block(value):
    return isinstance(value, (dict, list, tuple)) and bool(value)
