#!/usr/bin/env python3
"""Makes the fonts of this folder from Debian's Noto Sans (package fonts-noto-core; needs python3-fonttools).

    apt-get install fonts-noto-core python3-fonttools
    python3 data/fonts/subset.py

Each file is a TrueType font that holds no more than documents draw, deflated (zlib), as it goes into a PDF. Hints are left out:
paper and screens of today do not need them. The Indian ones keep what their shaping needs (GSUB, GPOS, GDEF).
"""
import io
import pathlib
import zlib

from fontTools import subset
from fontTools.ttLib import TTFont

FROM = pathlib.Path("/usr/share/fonts/truetype/noto")
HERE = pathlib.Path(__file__).parent

PUNCTUATION = [0x2013, 0x2014, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2026, 0x2030, 0x20AC, 0x20B9, 0x2116, 0x2122, 0x2212]
LATIN = [*range(0x20, 0x7F), *range(0xA0, 0xAD), *range(0xAE, 0x100), *PUNCTUATION]
# Names of people from elsewhere: Latin Extended-A and -B, Vietnamese, romanised Indian names.
EXTENDED = [*range(0x100, 0x250), *range(0x1E00, 0x1F00)]
# What all Indian scripts use: full stops, and the joiners that say how letters meet.
SHARED = [0x20, 0x2D, 0x2E, 0x964, 0x965, 0x200C, 0x200D]

FONTS = [
    ("latin", "NotoSans-Regular", LATIN, False),
    ("latin-bold", "NotoSans-Bold", LATIN, False),
    ("latin-extended", "NotoSans-Regular", EXTENDED, False),
    ("devanagari", "NotoSansDevanagari-Regular", [*range(0x900, 0x980), *SHARED], True),
    ("bengali", "NotoSansBengali-Regular", [*range(0x980, 0xA00), *SHARED], True),
    ("gurmukhi", "NotoSansGurmukhi-Regular", [*range(0xA00, 0xA80), *SHARED], True),
    ("gujarati", "NotoSansGujarati-Regular", [*range(0xA80, 0xB00), *SHARED], True),
    ("oriya", "NotoSansOriya-Regular", [*range(0xB00, 0xB80), *SHARED], True),
    ("tamil", "NotoSansTamil-Regular", [*range(0xB80, 0xC00), *SHARED], True),
    ("telugu", "NotoSansTelugu-Regular", [*range(0xC00, 0xC80), *SHARED], True),
    ("kannada", "NotoSansKannada-Regular", [*range(0xC80, 0xD00), *SHARED], True),
    ("malayalam", "NotoSansMalayalam-Regular", [*range(0xD00, 0xD80), *SHARED], True),
]

for name, source, characters, is_shaped in FONTS:
    options = subset.Options(hinting=False, notdef_outline=False, glyph_names=False, name_IDs=[], recalc_timestamp=False)
    options.layout_features = ["*"] if is_shaped else []
    options.drop_tables += [] if is_shaped else ["GSUB", "GPOS", "GDEF"]
    font = TTFont(FROM / f"{source}.ttf", recalcTimestamp=False)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=characters)
    subsetter.subset(font)
    out = io.BytesIO()
    font.save(out)
    packed = zlib.compress(out.getvalue(), 9)
    (HERE / f"{name}.ttf.z").write_bytes(packed)
    print(f"{name}: {len(font.getGlyphOrder())} glyphs, {len(out.getvalue())} bytes, {len(packed)} deflated")
