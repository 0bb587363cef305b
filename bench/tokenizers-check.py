# Ids and texts by the tokenizers library, for bench/tokenizers.ts: python tokenizers-check.py TOKENIZER_JSON TEXTS OUT
import json
import sys

import tokenizers

file, texts, out = sys.argv[1:]
tokenizer = tokenizers.Tokenizer.from_file(file)
tokenizer.encode_special_tokens = True
given = json.load(open(texts))
encoded = [tokenizer.encode(text, add_special_tokens=False).ids for text in given["texts"]]
decoded = [tokenizer.decode(ids) for ids in encoded]
tokenizer.encode_special_tokens = False
typed = [tokenizer.encode(text, add_special_tokens=False).ids for text in given["typed"]]
json.dump({"version": tokenizers.__version__, "encoded": encoded, "decoded": decoded, "typed": typed}, open(out, "w"))
