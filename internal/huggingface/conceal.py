"""Takes the names of hidden models out of their files.

The first half of the downloader: the two files are sent as one program.
"""

import bz2
import gzip
import json
import lzma
import re
import zipfile
from pathlib import Path

CHUNK = 4 << 20

# What transformers and peft need to know to load a model. Words found under
# these keys stay wherever they appear, even where they resemble the name.
NEEDED_KEYS = {
    "model_type", "architectures", "auto_map", "tokenizer_class", "processor_class", "image_processor_type",
    "feature_extractor_type", "video_processor_type", "peft_type", "task_type", "quant_method", "_class_name",
}
DROPPED_KEYS = {"_name_or_path", "name_or_path", "_commit_hash", "model_name"}
EMPTIED_KEYS = {"base_model_name_or_path"}
VOCABULARIES = {
    "vocab.json", "merges.txt", "vocab.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer.model",
    "spiece.model", "sentencepiece.bpe.model", "tekken.json",
}
VOCABULARY_KEYS = {
    "tokenizer.json": {"model", "added_tokens"},
    "tokenizer_config.json": {
        "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens", "bos_token", "eos_token",
        "unk_token", "pad_token", "sep_token", "cls_token", "mask_token",
    },
}
TEXTS = {
    ".json", ".jsonl", ".jinja", ".jinja2", ".j2", ".txt", ".md", ".rst", ".py", ".sh", ".yaml", ".yml", ".toml", ".cfg",
    ".ini", ".xml", ".html", ".csv", ".tsv", ".log", "",
}
SMALL = 16 << 20  # bytes of a file that is searched as text if it can be read as such, whatever its name
GENERIC = {"model", "models", "tokenizer", "config", "adapter", "base", "weights", "transformers", "pytorch"}
REPLACEMENT = "model"
# Endings of a repository's name that say which member of a family it is.
ENDINGS = re.compile(r"(\d+x)?\d+[bmk]|instruct|chat|base|it|hf|v?\d+|preview|lora", re.IGNORECASE)
LEAST = 5  # letters and digits that a name must have to be looked for among raw bytes
MARGIN = 8  # bits that a name must have more than it takes to be somewhere in as many random bytes
RUN = re.compile(rb"[ -~]{8,}")  # text among bytes, in which names are looked for that are too short for the rest
WIDE_RUN = re.compile(rb"(?:[ -~]\0){8,}")
PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
BOMS = ((b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))


class CannotHide(Exception):
    """A name is left where taking it out would break the model."""


class Concealer:
    """Takes the names of some models out of files, in any case and with any separators."""

    def __init__(self, ids):
        terms = {t for i in ids for t in (i, *i.split("/"), self.family(i.split("/")[-1]))}
        terms = [t for t in terms if len(self.letters(t)) > 1 and self.letters(t) not in GENERIC]
        terms.sort(key=len, reverse=True)
        self.pattern = re.compile("|".join(map(self.expression, terms)) or r"(?!)", re.IGNORECASE)
        # What is looked for where names cannot be told from other bytes.
        self.literals = {
            spelling.lower().encode()
            for t in terms if len(self.letters(t)) >= LEAST
            for spelling in (t, *(separator.join(self.words(t)) for separator in ("-", "_", "", ".", " ", "/")))
        }
        # A single word ("microsoft") is also a word of the language that a vocabulary is for.
        self.phrases = {
            literal for literal in self.literals
            if not any(literal.decode() == self.letters(t) for t in terms if len(self.words(t)) == 1)
        }
        self.needed = re.compile(r"(?!)")

    @staticmethod
    def letters(term):
        return re.sub(r"[\W_]", "", term).lower()

    def family(self, name):
        """The name without its endings, if that is a name of its own: what a model calls itself."""
        words = self.words(name)
        while words and ENDINGS.fullmatch(words[-1]):
            words.pop()
        family = "-".join(words)
        return family if len(self.letters(family)) >= 5 else ""

    @staticmethod
    def words(term):
        return re.findall(r"[^\W_]+", term)

    def expression(self, term):
        runs = re.findall(r"[^\W\d_]+|\d+", term)
        expression = r"[\W_]{0,3}".join(map(re.escape, runs))
        if len(self.letters(term)) < 5:  # a short name is part of too many words
            expression = rf"(?<![^\W_]){expression}(?![^\W_])"
        return expression

    def learn(self, configurations):
        """Collects the words that have to stay from parsed configuration files."""
        words = set()

        def strings(value):
            if isinstance(value, str):
                name = value.rsplit("--", 1)[-1]
                words.update([name, *name.split(".")])
            for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
                strings(child)

        def walk(value):
            if isinstance(value, dict):
                for key, child in value.items():
                    strings(child) if key in NEEDED_KEYS else walk(child)
            elif isinstance(value, list):
                for child in value:
                    walk(child)

        for configuration in configurations:
            walk(configuration)
        words.discard("")
        if words:
            alternatives = "|".join(map(re.escape, sorted(words, key=len, reverse=True)))
            self.literals = {i for i in self.literals if not any(i in w.lower().encode() for w in words)}
            self.needed = re.compile(rf"(?<![^\W_])(?:{alternatives})(?![^\W_])")

    def found(self, text):
        """The matches that are not part of a word that has to stay."""
        kept = None
        for match in self.pattern.finditer(text):
            if kept is None:
                kept = [m.span() for m in self.needed.finditer(text)]
            if not any(start <= match.start() and match.end() <= end for start, end in kept):
                yield match

    def text(self, text):
        parts, last = [], 0
        for match in self.found(text):
            parts += [text[last:match.start()], REPLACEMENT]
            last = match.end()
        return "".join(parts) + text[last:]

    def value(self, value, untouched=()):
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(v) for v in value]
        if isinstance(value, dict):
            return {
                self.text(k): v if k in untouched else None if k in EMPTIED_KEYS else self.value(v)
                for k, v in value.items() if k not in DROPPED_KEYS
            }
        return value

    def path(self, path):
        return "/".join(self.text(part) for part in path.split("/"))

    def rewrite(self, path, name):
        """Rewrites a file in place; true if that changed it."""
        if name.endswith(".safetensors"):
            return self.rewrite_header(path)
        base = name.rsplit("/", 1)[-1]
        if base in VOCABULARIES or Path(base).suffix.lower() not in TEXTS:
            return False
        old = path.read_bytes()
        try:
            text = old.decode()
        except UnicodeDecodeError:
            return False
        new = self.text(text)
        if base.endswith(".json"):
            try:
                parsed = json.loads(text)
                value = self.value(parsed, VOCABULARY_KEYS.get(base, ()))
                new = text if value == parsed else json.dumps(value, indent=2, ensure_ascii=False)
            except ValueError:
                pass
        if new.encode() == old:
            return False
        path.write_bytes(new.encode())
        return True

    def rewrite_header(self, path):
        """Takes the free-form metadata out of a safetensors header, whose length stays."""
        with open(path, "r+b") as f:
            length = int.from_bytes(f.read(8), "little")
            if length > path.stat().st_size - 8:
                return False  # no such header; check() looks at all bytes
            try:
                tensors = json.loads(f.read(length))
                metadata = tensors.pop("__metadata__", {})
            except (ValueError, AttributeError, TypeError):
                return False
            if not any(True for _ in self.found(json.dumps(metadata, ensure_ascii=False))):
                return False
            kept = {"__metadata__": {k: v for k, v in metadata.items() if k == "format"}, **tensors}
            new = json.dumps(kept, separators=(",", ":"), ensure_ascii=False).encode()
            if len(new) > length:
                raise CannotHide("the header of a weights file has no room to be rewritten")
            f.seek(8)
            f.write(new.ljust(length))
        return True

    def check(self, path, name):
        """Fails if a name is left in a file or its path."""
        if any(True for _ in self.found(name)):
            raise CannotHide("the path of a file holds the model's name")
        shown = self.path(name)
        base = name.rsplit("/", 1)[-1]
        vocabulary = base in VOCABULARIES or base in VOCABULARY_KEYS
        size = path.stat().st_size
        text = None
        if not vocabulary and (Path(base).suffix.lower() in TEXTS or size <= SMALL):
            text = self.decode(path.read_bytes())
            if text is not None and any(True for _ in self.found(text)):
                raise CannotHide(f"{shown} still holds the model's name")
        with open(path, "rb") as f:
            magic = f.read(8)
            f.seek(0)
            self.scan(f, size, shown, vocabulary, runs=text is None and not vocabulary)
        for opening, unpack in PACKED.items():
            if magic.startswith(opening):
                self.check_packed(lambda unpack=unpack: unpack(path, "rb"), shown)
        if zipfile.is_zipfile(path):
            self.check_zip(path, shown)

    def check_zip(self, path, shown):
        """Looks into what a zip file has compressed; the rest is among its bytes, as names are."""
        try:
            with zipfile.ZipFile(path) as archive:
                for member in archive.infolist():
                    if any(True for _ in self.found(member.filename)):
                        raise CannotHide(f"{shown} has a member with the model's name")
                    if member.compress_type != zipfile.ZIP_STORED:
                        self.check_packed(lambda member=member: archive.open(member), shown)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as e:
            raise CannotHide(f"{shown} cannot be unpacked to look for the model's name") from e

    def check_packed(self, unpack, shown):
        try:
            with unpack() as f:
                self.scan(f, SMALL, shown)
        except (OSError, EOFError, lzma.LZMAError) as e:
            raise CannotHide(f"{shown} cannot be unpacked to look for the model's name") from e

    @staticmethod
    def decode(data):
        """The text of a file that is one, else None."""
        for bom, encoding in (*BOMS, (b"", "utf-8")):
            if data.startswith(bom):
                try:
                    return data.decode(encoding)
                except UnicodeDecodeError:
                    pass
        return None

    @staticmethod
    def bits(literal):
        """How improbable a literal is among random bytes, in any case of its letters."""
        return sum(7 if chr(byte).isalpha() else 8 for byte in literal)

    @staticmethod
    def widths(literal):
        """A literal in UTF-8, UTF-16 and UTF-32, of either byte order."""
        return [(b"\0" * zeros).join(literal[i:i + 1] for i in range(len(literal))) for zeros in (0, 1, 3)]

    def scan(self, f, size, shown, vocabulary=False, runs=True):
        """Fails if a name is left among bytes. It reads them once."""
        least = max(size, 1).bit_length() + MARGIN
        literals = {
            wide
            for literal in (self.phrases & self.literals if vocabulary else self.literals)
            for wide in self.widths(literal) if self.bits(wide) >= least
        }
        # Few, rare words go first: weights are large, and names are in none of them.
        probes = {max(re.findall(rb"[^-_. /]+", literal.replace(b"\0", b"")), key=len) for literal in literals}
        probes = [p for p in probes if not any(other in p for other in probes - {p})]
        probes = [wide for p in probes for wide in self.widths(p)]
        overlap = max(map(len, literals), default=1) - 1
        tail, first = b"", True
        while chunk := f.read(CHUNK):
            window = tail + chunk.lower()
            if any(p in window for p in probes) and any(literal in window for literal in literals):
                raise CannotHide(f"{shown} holds the model's name among its bytes")
            # What a format says about itself comes first, or the file is small.
            if runs and (first or size <= SMALL) and self.among_runs(tail + chunk):
                raise CannotHide(f"{shown} holds the model's name among its bytes")
            tail, first = window[-overlap:] if overlap else b"", False

    def among_runs(self, data):
        runs = (m.group() for m in RUN.finditer(data))
        wide = (m.group()[::2] for m in WIDE_RUN.finditer(data))
        return any(True for text in (*runs, *wide) for _ in self.found(text.decode("ascii")))
