"""Prints the first sheet of a workbook, a row a line, cells separated by tabs.

It shares nothing with the program that wrote it: the parts are found as
ECMA-376 says, from [Content_Types].xml and the relationships, with Python's own
zip and XML readers. Anything it does not expect ends it with an error.
"""
import posixpath
import sys
import xml.etree.ElementTree as ET
import zipfile

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
REL = "{http://schemas.openxmlformats.org/package/2006/relationships}"
DOC = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"


def related(book, part, wanted):
    """The parts that a part refers to, by id or by the end of the type."""
    folder, name = posixpath.split(part)
    rels = ET.fromstring(book.read(posixpath.join(folder, "_rels", name + ".rels")))
    found = {}
    for r in rels.iter(REL + "Relationship"):
        path = posixpath.normpath(posixpath.join("/" + folder, r.get("Target"))).lstrip("/")
        found[r.get("Id")] = found[r.get("Type").rsplit("/", 1)[1]] = path
    return found.get(wanted)


def text(cell, shared):
    kind = cell.get("t", "n")
    if kind == "inlineStr":
        return "".join(t.text or "" for t in cell.iter(MAIN + "t"))
    value = cell.findtext(MAIN + "v", "")
    if kind == "s":
        return shared[int(value)]
    if kind not in ("n", "str") or cell.find(MAIN + "f") is not None:
        raise ValueError("cell %s: type %s, or a formula" % (cell.get("r"), kind))
    return value


with zipfile.ZipFile(sys.argv[1]) as book:
    if book.testzip() is not None:
        raise ValueError("damaged")
    ET.fromstring(book.read("[Content_Types].xml"))
    workbook = related(book, "", "officeDocument")
    sheets = ET.fromstring(book.read(workbook)).find(MAIN + "sheets")
    strings = related(book, workbook, "sharedStrings")
    shared = []
    if strings:
        for item in ET.fromstring(book.read(strings)).iter(MAIN + "si"):
            shared.append("".join(t.text or "" for t in item.iter(MAIN + "t")))
    sheet = ET.fromstring(book.read(related(book, workbook, sheets[0].get(DOC + "id"))))
    for row in sheet.iter(MAIN + "row"):
        print("\t".join(text(c, shared) for c in row.iter(MAIN + "c")))
