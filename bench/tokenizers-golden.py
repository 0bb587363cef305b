# Writes test/llama/tokenizer/fixtures/published.json: small vocabularies cut out of published tokenizer.json files (their first
# merges), variations of their parts, and the ids and texts that the tokenizers library gives for the same strings.
#   python tokenizers-golden.py TEXTS_JSON OUT NAME=TOKENIZER_JSON ...
import copy
import json
import sys

import tokenizers

texts_file, out, *named = sys.argv[1:]
texts = json.load(open(texts_file))
MERGES = 90


def cut(full):
    model = full["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]][:MERGES]
    pieces = set(p for a, b in merges for p in (a, b, a + b))
    pieces |= {p for p in model["vocab"] if p.startswith("<0x") and len(p) == 6}
    if not model["byte_fallback"]:
        pieces |= {p for p in model["vocab"] if len(p) == 1 and model["vocab"][p] < 400}
    if model["unk_token"]:
        pieces.add(model["unk_token"])
    vocab = {p: i for i, p in enumerate(sorted(pieces, key=lambda p: model["vocab"][p]))}
    added = [t for t in full["added_tokens"] if t["content"] in vocab][:6]
    added += [t for t in full["added_tokens"] if t["content"] not in vocab and t["special"]][:5]
    added += [t for t in full["added_tokens"] if t["content"] not in vocab and not t["special"]][:3]
    size = len(vocab)
    small = copy.deepcopy(full)
    small["model"].update(vocab=vocab, merges=merges)
    small["added_tokens"] = []
    for token in added:
        if token["content"] in vocab:
            id = vocab[token["content"]]
        else:
            id, size = size, size + 1
        small["added_tokens"].append({**token, "id": id})
    small["post_processor"] = None
    return small


def variation(base, **parts):
    changed = copy.deepcopy(base)
    model = parts.pop("model", {})
    changed.update(parts)
    changed["model"].update(model)
    return changed


kinds = {}
for item in named:
    name, path = item.split("=")
    kinds[name] = cut(json.load(open(path)))

plain, chars = kinds["LLaMA-3"], kinds["LLaMA-2"]
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior, invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def words(*parts):
    return {"type": "Sequence", "pretokenizers": [*parts, BYTES]}


def token(id, content, **rules):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": id, "content": content, **base, **rules}


for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    for invert in [False, True]:
        part = words(split({"Regex": r"\s|\p{P}"}, behavior, invert))
        kinds[f"Split {behavior}{' inverted' if invert else ''}"] = variation(plain, pre_tokenizer=part)
kinds["Split by a string"] = variation(plain, pre_tokenizer=words(split({"String": "."}, "MergedWithPrevious")))
for name, pattern in {
    "possessive": r"\p{L}++|\s?+\p{N}++|[^\s\p{L}\p{N}]++|\s++",
    "borders": r"\b\w+\b|\B\W|\W",
    "line ends": r"\s+$|^\s+|\S+|\s",
    "behind": r"(?<=\p{L})\p{N}+|(?<!\s)\p{P}|\p{L}+?(?=\p{L})|.",
    "sets": r"[[a-z]&&[^aeiou]]+|[\p{Han}\p{Hiragana}]{1,2}|[^\x00-\x7f]|\h+",
}.items():
    kinds[f"pattern: {name}"] = variation(plain, pre_tokenizer=words(split({"Regex": pattern}, "Isolated")))
kinds["GPT-2"] = variation(plain, pre_tokenizer={**BYTES, "use_regex": True})
kinds["GPT-2 with a space in front"] = variation(plain, pre_tokenizer={**BYTES, "use_regex": True, "add_prefix_space": True})
for part in [
    {"type": "Digits", "individual_digits": False},
    {"type": "Digits", "individual_digits": True},
    {"type": "Punctuation", "behavior": "Isolated"},
    {"type": "Punctuation", "behavior": "Contiguous"},
    {"type": "Whitespace"},
    {"type": "WhitespaceSplit"},
]:
    kinds["words: " + json.dumps(part)] = variation(plain, pre_tokenizer=words(part))
for scheme in ["first", "always", "never"]:
    for splits in [False, True]:
        part = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": splits}
        kinds[f"Metaspace {scheme} {'split' if splits else 'whole'}"] = variation(
            chars,
            normalizer=None,
            pre_tokenizer=part,
            decoder={"type": "Sequence", "decoders": [{"type": "ByteFallback"}, part]} if splits else part,
        )
for normalizer in [
    {"type": "NFC"},
    {"type": "NFD"},
    {"type": "NFKC"},
    {"type": "NFKD"},
    {"type": "Lowercase"},
    {"type": "Strip", "strip_left": True, "strip_right": True},
    {"type": "Strip", "strip_left": True, "strip_right": False},
    {"type": "Prepend", "prepend": "a b"},
    {"type": "Replace", "pattern": {"String": "the"}, "content": "$&"},
    {"type": "Replace", "pattern": {"Regex": r"\s{2,}|\p{N}"}, "content": " "},
    {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Lowercase"}]},
]:
    kinds["normaliser: " + json.dumps(normalizer)] = variation(plain, normalizer=normalizer)
rules = [
    token(300, "the", single_word=True),
    token(301, "of", lstrip=True),
    token(302, "llama", rstrip=True, lstrip=True),
    token(303, "hello", normalized=True),
    token(304, "_", rstrip=True, normalized=True),
    token(305, "<s>", special=True),
    token(306, "s>", special=False),
]
known = plain["model"]["vocab"]
new = [t["content"] for t in rules if t["content"] not in known]
rules = [{**t, "id": known.get(t["content"], len(known) + new.index(t["content"]) if t["content"] in new else 0)} for t in rules]
kinds["added tokens"] = variation(plain, added_tokens=rules)
kinds["added tokens, lowercased"] = variation(plain, added_tokens=rules, normalizer={"type": "Lowercase"})
kinds["no byte fallback"] = variation(chars, model={"byte_fallback": False})
kinds["no byte fallback, unknown ones apart"] = variation(chars, model={"byte_fallback": False, "fuse_unk": False})
kinds["no unknown token"] = variation(chars, model={"byte_fallback": False, "unk_token": None})
few = {p: i for i, p in enumerate(p for p in plain["model"]["vocab"] if p not in "aeé\u0120zĀ")}
kinds["bytes without a piece"] = variation(
    plain, model={"vocab": few, "merges": [m for m in plain["model"]["merges"] if m[0] in few and m[1] in few and m[0] + m[1] in few]}, added_tokens=[]
)
kinds["no decoder"] = variation(plain, decoder=None)
kinds["decoder: Strip"] = variation(chars, decoder={"type": "Strip", "content": "\u2581", "start": 1, "stop": 0})
kinds["decoder: Replace"] = variation(
    chars, decoder={"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"Regex": "[\u2581e]+"}, "content": "_"}, {"type": "Fuse"}]}
)

bases = {"LLaMA-3": plain, "LLaMA-2": chars}
cases = []
for number, (name, definition) in enumerate(kinds.items()):
    # The published ones see every text, variations a part of them.
    some = texts if number < len(named) else texts[number % 3 :: 3]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(definition))
    tokenizer.encode_special_tokens = True
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in some]
    decoded = [tokenizer.decode(list_) for list_ in ids]
    tokenizer.encode_special_tokens = False
    base = next((b for b, d in bases.items() if b != name and d["model"]["vocab"] == definition["model"]["vocab"]), None)
    if base is not None:
        definition = copy.deepcopy(definition)
        for key in ("vocab", "merges"):
            del definition["model"][key]
    cases.append(
        {
            "name": name,
            "base": base,
            "definition": definition,
            "texts": [0, 1] if number < len(named) else [number % 3, 3],
            "ids": [" ".join(map(str, list_)) for list_ in ids],
            # null: the text as it was.
            "decoded": [None if text == back else back for text, back in zip(some, decoded)],
        }
    )
source = f"tokenizers {tokenizers.__version__}, bench/tokenizers-golden.py"
json.dump({"source": source, "texts": texts, "cases": cases}, open(out, "w"), ensure_ascii=True, separators=(",", ":"))
