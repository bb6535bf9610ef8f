#!/usr/bin/env python3
"""Checks of the structure that need more than a search for a line. `.ci/rules` calls it.

    .ci/structure.py types [NAME...]       type names defined more than once; the NAMEs are allowed
    .ci/structure.py circles [--strict] [FILES...]
                                           circles of modules; each FILES is an allowed one: its files, space-separated
    .ci/structure.py pointers CRATE        safe functions of a crate that take a raw pointer
    .ci/structure.py words                 identifiers, comments and messages with words the glossary replaces

Each prints one line per violation and nothing where all is well. Only the crates of the workspace are read, and only
their sources: code under `#[cfg(test)]` and `#[cfg(doctest)]` is left out.

A circle is a set of files that all depend on each other. A file depends on the modules that it names, in `use` and in
paths such as `crate::a::b` or `module::item`. `mod name;` and `pub use`, the public face of a crate, do not count. A
module may use what the modules around it define, as `super::Name`: a folder is one unit to that extent. With
`--strict`, a name counts for the file that defines it, and not for the module that re-exports it.
"""

import pathlib
import re
import sys
import tomllib

TOKEN = re.compile(
    r"""(?P<comment>//[^\n]*|/\*.*?\*/)
      |(?P<raw>b?r(?P<hashes>\#*)".*?"(?P=hashes))
      |(?P<string>b?"(?:\\.|[^"\\])*")
      |(?P<char>b?'(?:\\(?:x..|u\{[^}]*\}|.)|[^'\\\n])')""",
    re.S | re.X,
)
VISIBILITY = r"(?:pub(?:\([a-z: ]+\))? )?"
DEFINITION = re.compile(
    rf"^ *{VISIBILITY}(?:default |async |const |unsafe |extern \"[^\"]*\" |extern )*"
    r"(fn|struct|enum|union|trait|type|const|static(?: mut)?|macro_rules!) (\w+)",
    re.M,
)
MODULE = re.compile(rf"^{VISIBILITY}mod (\w+);", re.M)
USE = re.compile(rf"^( *)({VISIBILITY})use ([^;]+);", re.M)
PATH = re.compile(r"(?<![\w:.$])([a-z_]\w*)((?:::\w+)+)")


def blank(text):
    """The same number of lines without their contents."""
    return re.sub(r"[^\n]", " ", text)


def code_of(text):
    """Source text whose comments are blank and whose strings are empty."""

    def replace(token):
        if token["comment"]:
            return blank(token[0])
        if token["char"]:
            return "' '"
        return '""' + "\n" * token[0].count("\n")

    return TOKEN.sub(replace, text)


def end_of_item(code, start):
    """The end of the item that begins at `start`: its closing brace, or its semicolon."""
    depth = 0
    for match in re.compile(r"[{}();\[\]]").finditer(code, start):
        sign = match[0]
        if sign in "{([":
            depth += 1
        elif sign in "})]":
            depth -= 1
            if depth == 0 and sign == "}":
                return match.end()
        elif depth == 0:
            return match.end()
    return len(code)


def without_tests(code, text):
    """Both without the items under `#[cfg(test)]`, `#[cfg(doctest)]` or `#[cfg(all(test, ...))]`, and `#[test]` functions."""
    spans = []
    for match in re.finditer(r"^ *#\[(?:cfg\((?:all\()?(?:test|doctest)\b[^\]]*|test)\]", code, re.M):
        if not spans or match.start() >= spans[-1][1]:
            spans.append((match.start(), end_of_item(code, match.end())))
    for start, end in reversed(spans):
        code = code[:start] + blank(code[start:end]) + code[end:]
    return code, spans


class File:
    """A source file: `code` has neither comments nor strings nor tests, `text` is what the file holds."""

    def __init__(self, path, crate, module, root):
        self.path, self.crate, self.module, self.root = path, crate, module, root
        self.text = path.read_text()
        self.code, self.tests = without_tests(code_of(self.text), self.text)
        self.children = {}
        self.defined = set()
        self.exports = {}  # name -> path that `pub use` gives it
        self.globs = []  # paths of `pub use path::*`
        self.imports = {}  # name -> path that a private `use` gives it
        self.import_globs = []

    def __str__(self):
        return self.path.as_posix()

    def is_around(self, other):
        """Whether it is the other file or one of the modules around that."""
        return other.module[: len(self.module)] == self.module


def use_tree(text, prefix=()):
    """The `(path, name)` of a use tree; the name of a glob is `*`."""
    text = text.strip()
    brace = text.find("{")
    if brace >= 0:
        head = [part for part in text[:brace].strip().split("::") if part]
        depth, start, inner = 0, brace + 1, []
        for index in range(brace, len(text)):
            if text[index] == "{":
                depth += 1
            elif text[index] == "}":
                depth -= 1
            if (text[index] == "," and depth == 1) or depth == 0:
                inner.append(text[start:index])
                start = index + 1
                if depth == 0:
                    break
        for part in inner:
            if part.strip():
                yield from use_tree(part, (*prefix, *head))
        return
    path, _, name = text.partition(" as ")
    parts = (*prefix, *[part.strip() for part in path.split("::") if part.strip()])
    if parts[-1] == "self":
        parts = parts[:-1]
    yield parts, name.strip() or parts[-1]


class Crate:
    """The module tree of a crate, from its root file."""

    def __init__(self, folder, root, is_strict=False):
        self.folder, self.files, self.is_strict = folder, {}, is_strict
        self.load(folder / "src" / root, (), folder / "src")
        for file in self.files.values():
            self.read(file)

    def load(self, path, module, folder):
        file = File(path, self, module, folder)
        self.files[module] = file
        for match in re.finditer(rf"((?:^ *#\[[^\n]*\]\n)*)^{VISIBILITY}mod (\w+);", file.code, re.M):
            attributes = file.text[match.start(1) : match.end(1)]
            name = match[2]
            at = re.search(r'#\[path = "([^"]+)"\]', attributes)
            # The strings of `code` are empty, so the attribute is read in the text, at the same line.
            line = file.code.count("\n", 0, match.start(2))
            lines = file.text.split("\n")
            while not at and line > 0 and lines[line - 1].lstrip().startswith("#["):
                line -= 1
                at = re.search(r'#\[path = "([^"]+)"\]', lines[line])
            if at:
                child = path.parent / at[1]
            else:
                child = folder / f"{name}.rs"
                if not child.exists():
                    child = folder / name / "mod.rs"
            inner = child.parent if child.name == "mod.rs" else child.parent / child.stem
            self.load(child, (*module, name), inner)
            file.children[name] = (*module, name)

    def read(self, file):
        """Definitions and uses of a file."""
        file.defined = {match[2] for match in DEFINITION.finditer(file.code)}
        for match in USE.finditer(file.code):
            # In an inline module or a function, `super` would be another module: such uses are rare and only imports.
            is_public = match[2] == "pub " and match[1] == ""
            for path, name in use_tree(match[3]):
                if name == "*":
                    (file.globs if is_public else file.import_globs).append(path[:-1])
                elif name != "_":
                    (file.exports if is_public else file.imports)[name] = path

    def absolute(self, file, path):
        """A path as seen from the root of the crate, or None where it leads out of the crate."""
        path = list(path)
        if path[0] == "crate":
            return tuple(path[1:])
        if path[0] in ("self", "super"):
            module = list(file.module)
            while path and path[0] in ("self", "super"):
                if path.pop(0) == "super":
                    module = module[:-1]
            return (*module, *path)
        if path[0] in file.children:
            return (*file.module, *path)
        given = file.imports.get(path[0]) or file.exports.get(path[0])
        # An import with the name of its crate leads out of this one.
        if given and given[0] != path[0]:
            head = self.absolute(file, given)
            return None if head is None else (*head, *path[1:])
        return None

    def resolve(self, path, seen=()):
        """The file that defines what an absolute path names, and whether it is the module itself."""
        if path in self.files:
            return self.files[path], True
        for length in range(len(path) - 1, -1, -1):
            file = self.files.get(path[:length])
            if file is None:
                continue
            name = path[length]
            if not self.is_strict or name in file.defined or (file, name) in seen:
                return file, False
            seen = (*seen, (file, name))
            given = file.exports.get(name) or file.imports.get(name)
            if given:
                target = self.absolute(file, given)
                return self.resolve((*target, *path[length + 1 :]), seen) if target is not None else (None, False)
            for glob in file.globs:
                target = self.absolute(file, glob)
                found = self.resolve((*target, name), seen) if target is not None else (None, False)
                if found[0] is not None and name in found[0].defined:
                    return found
            return (file, False) if length == len(file.module) else (None, False)
        return None, False

    def dependencies(self, file):
        """File -> names that this file takes from it."""
        found = {}

        def add(path):
            target, is_module = self.resolve(path)
            if target is not None and not is_module and not target.is_around(file):
                found.setdefault(target, set()).add(path[-1] if path else "")

        for path in file.imports.values():
            target = self.absolute(file, path)
            if target is not None:
                add(target)
        for path in file.import_globs:
            target = self.absolute(file, path)
            if target in self.files and not self.files[target].is_around(file):
                found.setdefault(self.files[target], set()).add("*")
        body = USE.sub(lambda match: blank(match[0]), file.code)
        for match in PATH.finditer(body):
            path = (match[1], *match[2].split("::")[1:])
            target = self.absolute(file, path)
            if target is not None:
                add(target)
        return found


def components(graph):
    """The strongly connected components of more than one node (Tarjan)."""
    index, low, stack, on_stack, result = {}, {}, [], set(), []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        on_stack.add(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in on_stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = []
            while not component or component[-1] is not node:
                component.append(stack.pop())
                on_stack.discard(component[-1])
            if len(component) > 1:
                result.append(component)

    for node in graph:
        if node not in index:
            visit(node)
    return result


def crates(is_strict=False):
    """The crates of the workspace that have sources."""
    members = tomllib.loads(pathlib.Path("Cargo.toml").read_text())["workspace"]["members"]
    for member in sorted(members):
        folder = pathlib.Path(member)
        for root in ("lib.rs", "main.rs"):
            if (folder / "src" / root).exists():
                yield Crate(folder, root, is_strict)
                break


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def types(allowed):
    """Type names defined twice. Alternatives under `#[cfg]` in one file count once."""
    places = {}
    for crate in crates():
        for file in crate.files.values():
            for match in re.finditer(
                rf"^( *){VISIBILITY}(?:unsafe )?(struct|enum|union|trait|type) (\w+)", file.code, re.M
            ):
                if match[2] == "type" and match[1]:
                    continue  # an associated type
                before = file.code[: match.start()].rstrip().rsplit("\n", 1)[-1]
                place = f"{file}:{line_of(file.code, match.start())}"
                names = places.setdefault(match[3], {})
                key = (str(file), "cfg") if "#[cfg(" in before else (place, "")
                names.setdefault(key, f"{match[2]} at {place}")
    for name, found in sorted(places.items()):
        if len(found) > 1 and name not in allowed:
            yield f"{name}: {', '.join(found.values())}"


def circles(allowed):
    """Circles of modules that are not allowed, with what ties each; allowed ones that are gone."""
    is_strict = allowed[:1] == ["--strict"]
    wanted = {frozenset(files.split()) for files in allowed[is_strict:]}
    for crate in crates(is_strict):
        graph = {file: crate.dependencies(file) for file in crate.files.values()}
        for component in components(graph):
            names = frozenset(str(file) for file in component)
            if names in wanted:
                wanted.discard(names)
                continue
            yield f"circle of {len(names)} files: {' '.join(sorted(names))}"
            for file in sorted(component, key=str):
                for target in sorted(graph[file], key=str):
                    if target in component:
                        yield f"    {file} -> {target}: {', '.join(sorted(graph[file][target]))}"
    for names in wanted:
        yield f"allowed, but not in the code any more: {' '.join(sorted(names))}"


def pointers(folder):
    """Safe functions with a parameter that contains a raw pointer."""
    for crate in crates():
        if str(crate.folder) != folder:
            continue
        for file in crate.files.values():
            code = re.sub(r'^ *unsafe extern "" \{.*?^ *\}', lambda block: blank(block[0]), file.code, flags=re.M | re.S)
            for match in re.finditer(r"^[^\n]*\bfn (\w+)[^(;{]*\(", code, re.M):
                depth, end = 1, match.end()
                while depth and end < len(code):
                    depth += {"(": 1, ")": -1}.get(code[end], 0)
                    end += 1
                head = match[0].split("fn ")[0]
                if re.search(r"\*(mut|const) ", code[match.end() : end]) and "unsafe" not in head:
                    yield f"{file}:{line_of(file.code, match.start())}: fn {match[1]}"


#: What must not be in an identifier, and how it is recognised there.
IDENTIFIER = re.compile(r"\b(?:\w*_)?(?:told|tells?)(?:_\w*)?\b|\b\w*(?:Told|Tells?)(?=[A-Z_]|\b)\w*")
#: "x is no y" for "x is not a y". Idioms stay: there is no, is no longer, is no more than.
IS_NO = re.compile(
    r"(?<!there)(?<!There) is no (?!longer\b|more\b|less\b|fewer\b|larger\b|smaller\b|greater\b|higher\b|lower\b|better\b|worse\b|different\b|one\b)"
)
BOUND = re.compile(r"\b(?:const|static) ((?:MOST|LEAST|LONGEST|SHORTEST|LARGEST|SMALLEST|BIGGEST)(?:_\w+)?)\b")
STANDARD = re.compile(
    rf"(?:\b(?:struct|enum|union|trait) |^{VISIBILITY}type )"
    r"(From|Into|Copy|Clone|Range|Option|Result|Box|Vec|String|Iterator|Default|Drop|Fn|Some|None|Ok|Err)\b",
    re.M,
)


def words():
    """Words that the glossary replaces."""
    for crate in crates():
        for file in crate.files.values():
            for pattern, why in (
                (IDENTIFIER, "say what the value is"),
                (BOUND, "bounds begin with MAX_ or MIN_"),
                (STANDARD, "shadows the standard library"),
            ):
                for match in pattern.finditer(file.code):
                    yield f"{file}:{line_of(file.code, match.start())}: {match[match.lastindex or 0]}: {why}"
            prose = file.text
            for start, end in reversed(file.tests):
                first, last = (file.code.count("\n", 0, at) for at in (start, end))
                lines = prose.split("\n")
                lines[first : last + 1] = [""] * (last + 1 - first)
                prose = "\n".join(lines)
            for token in TOKEN.finditer(prose):
                if not token["char"]:
                    for match in IS_NO.finditer(re.sub(r"\s+(?:///?!? ?)?\s*", " ", token[0])):
                        yield f'{file}:{line_of(prose, token.start())}: "is no ...": write "is not a ..."'


def main():
    command, *rest = sys.argv[1:] or [""]
    sys.setrecursionlimit(10_000)
    if command == "types":
        lines = types(rest)
    elif command == "circles":
        lines = circles(rest)
    elif command == "pointers" and len(rest) == 1:
        lines = pointers(rest[0])
    elif command == "words" and not rest:
        lines = words()
    else:
        sys.exit(__doc__)
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()
