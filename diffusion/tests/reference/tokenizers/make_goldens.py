#!/usr/bin/env python3
"""Writes more_goldens.json: token ids of texts of many scripts and of odd characters, by the `tokenizers` library.

    make_goldens.py T5_TOKENIZER_JSON QWEN3_TOKENIZER_JSON

The same files as for make_vocabularies.py. T5's ids have the end token, Qwen3's no special tokens, as in goldens.json.
"""

import gzip
import json
import pathlib
import random
import sys

import tokenizers

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.", "Der schnelle braune Fuchs springt über den faulen Hund, groß & süß.",
    "Voix ambiguë d'un cœur qui, au zéphyr, préfère les jattes de kiwis", "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia",
    "Pchnąć w tę łódź jeża lub ośm skrzyń fig", "Příliš žluťoučký kůň úpěl ďábelské ódy", "Árvíztűrő tükörfúrógép", "Pijamalı hasta, yağız şoföre çabucak güvendi. İIıi",
    "Съешь же ещё этих мягких французских булок, да выпей чаю", "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία", "Жебракують філософи при ґанку церкви в Гадячі, ще й шатро їхнє п'яне знаємо",
    "いろはにほへと ちりぬるを わかよたれそ つねならむ", "カタカナ ﾊﾝｶｸ ｶﾞｷﾞｸﾞ ＡＢＣ１２３", "東京タワーの夜景、超高画質、傑作", "天地玄黃宇宙洪荒", "一只可爱的猫,坐在窗台上，阳光明媚。", "키스의 고유조건은 입술끼리 만나야 하고", "다람쥐 헌 쳇바퀴에 타고파",
    "نص حكيم له سر قاطع وذو شأن عظيم", "دَرْسٌ فِي ٱلْعَرَبِيَّةِ", "דג סקרן שט בים מאוכזב ולפתע מצא חברה", "ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण", "বিড়াল জানালার পাশে বসে আছে", "நீர் வாழ் உயிரினம்", "నల్ల పిల్లి", "เป็นมนุษย์สุดประเสริฐเลิศคุณค่า", "ພາສາລາວ", "ခိုင်မာသော", "ភាសាខ្មែរ", "ქართული ენა", "Հայերեն լեզու", "አማርኛ ቋንቋ", "ᏣᎳᎩ", "ᠮᠣᠩᠭᠣᠯ", "བོད་སྐད་", "Tiếng Việt: Con mèo đen nằm trên ghế",
    "a cat, sitting on a mat; masterpiece, best quality, 8k uhd, f/1.8, ISO-100", "((best quality)), [[worst]], {detail:1.2}, (a:1.5)", "<lora:detail_tweaker:0.8> __wildcard__ {a|b|c}", "photo of a woman, 35mm, f2.8, #nofilter @home $100 50% off! C++ & C# ~/.bashrc",
]
ODD = [
    " ", "  ", "\n", "\t", "\r\n", " \n ", "a ", " a", "  a", "a  ", "a  b", "a   b", "a\nb", "a \n b", "a\n\n\nb", "a\r\nb", "\n\n a", "a\t\tb", "a \t b", "x\n  y\n    z", "if a:\n    return b\n\n\n",
    "\u00a0a\u00a0b\u00a0", "a\u3000b", "a\u2003\u2009b", "a\u200bb\u200cc\u200dd", "\ufeffbom", "a\u2028b\u2029c", "a\u0085b", "a\u000bb\u000cc", "soft\u00adhyphen", "a\u061cb\u2066c\u2069d", "\u202ertl\u202c",
    "\x00", "a\x00b", "\x01\x02\x03", "a\x1fb\x7fc", "\x80\x8f\x9f", "\ufffd", "\ufffe\uffff", "\ue000 private", "\U0010ffff", "\U000e0041\U000e007f", "\u0378 unassigned",
    "don't DON'T Don'T we'LL they'RE I'Ve he'D I'M it'S", "it'\u017f and '\u017fame", "'t 's '", "''s", "rock'n'roll o'clock 'tis", "don’t can’t", "'", "a'", "'re're",
    "1", "12", "123456789", "3.14159", "1,000,000", "½ ¼ ²³ ①②③ Ⅷ ⅷ", "٣٤٥ १२३ ๑๒๓", "x2y3z", "1st 2nd", "0x1F", "10⁻³",
    "e\u0301 a\u0308 o\u0302\u0301", "a\u0323\u0301 a\u0301\u0323", "x\u0301\u0323y", "\u00a8\u0301", "\u1e9b\u0323", "\u0344", "\u0958 \u0915\u093c", "\u2126 \u212b \u212a", "ﬁ ﬂ ﬃ ﬅ", "Ǆ ǅ ǆ Ǳ", "㎏ ㎡ ㍿ ㋿", "\ufb2e \ufb1d", "\u1112\u1161\u11ab\u1100\u1173\u11af", "\uac01\u11a8", "\U0002f801 \uf900", "Å Å Å", "\u0301", " \u0301", "a\u0301" * 5, "Z\u0351\u036b\u0343a\u0315\u0363l\u0358g\u0321o\u0321",
    "🦊", "🦊🐧", "👩‍👩‍👧", "👍🏽👍🏿", "🇩🇪🇫🇷", "1️⃣ #️⃣", "❤️ ❤ ☺︎", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "©️ ™️ ®", "(╯°□°)╯︵ ┻━┻", "🫠🫨🪿", "a🦊b", "🦊 a 🦊",
    "▁", "▁▁", "a▁b", " ▁ ", "a ▁b", "▁a▁", "Ġ Ċ Ā", "</w>", "##ing", "[UNK] [PAD] [CLS]",
    "<pad>", "</s>", "<unk>", "<s>", "a<pad>b", "a <pad> b", " </s> ", "</s></s>", "<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "<extra_id_07>", "<extra_id_1><extra_id_10>", "<extra_id_>", "<extra_id_1", "<<pad>>", "＜pad＞", "＜unk＞ x", "＜extra_id_5＞", "<PAD>", "</s", "<",
    "<|endoftext|>", "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n", "<think>\n\n</think>\n\n", "a<|im_end|>b", "a <|im_end|> b", "  <|im_end|>  ", "<|im_start|", "<|IM_START|>", "<tool_call>{}</tool_call>", "<tool_response></tool_response>", "<|fim_prefix|><|fim_middle|><|fim_suffix|><|fim_pad|><|repo_name|><|file_sep|>", "<|object_ref_start|><|object_ref_end|><|box_start|><|box_end|><|quad_start|><|quad_end|>", "<|vision_start|><|vision_end|><|vision_pad|><|image_pad|><|video_pad|>", "e<think>\u0301",
    "!!!", "...", "…", "---", "——", "!?!?", "a!!!\n\nb", "a.\nb", "foo_bar-baz.qux", "$$$a", "((((", "\"quoted\" “quoted” «quoted» „quoted“", "`code`", "a/b\\c", "~~~~", "++i", "=>", "-1", "\\n", "%20", "http://example.com/a?b=c&d=e#f", "me@example.com",
    "a" * 100, "ab" * 100, "aA" * 50, " " * 50, " " * 50 + "a", "\n" * 30, "é" * 60, "字" * 60, "🦊" * 30, "1" * 60, "antidisestablishmentarianism Donaudampfschifffahrtsgesellschaftskapitän", "HTMLParser camelCase snake_case SCREAMING_CASE", "ALL CAPS TEXT", "mIxEd CaSe",
]
POOL = "abcXYZ  \n\t\r'.,!-12ſéß中文字のカがㄱ한🦊👍🏽\u200d\u0301\u0323\u00a0\u3000▁<>|ΩЖשع\u093fक्"


def read(path):
    data = pathlib.Path(path).read_bytes()
    return gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data


def main(t5_path, qwen3_path):
    pick = random.Random(7)
    texts = SENTENCES + ODD + ["".join(pick.choices(POOL, k=pick.randint(3, 40))) for _ in range(60)]
    out = {}
    for name, path in ("t5", t5_path), ("qwen3", qwen3_path):
        tokenizer = tokenizers.Tokenizer.from_buffer(read(path))
        out[name] = [{"text": text, "ids": tokenizer.encode(text).ids} for text in texts]
    body = ",\n".join(
        f'"{name}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]"
        for name, cases in out.items()
    )
    pathlib.Path(__file__).with_name("more_goldens.json").write_text("{\n" + body + "\n}\n")
    print(len(texts), "texts")


main(*sys.argv[1:])
