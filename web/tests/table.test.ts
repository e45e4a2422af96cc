import { describe, expect, test } from "vitest";
import { cells, filled, namesIn, tableOf, valuesOf } from "../src/screens/wall/table";

describe("a pasted table", () => {
  test("from a spreadsheet", () => expect(cells("a\tb c\n1\t2, 3\n")).toEqual([["a", "b c"], ["1", "2, 3"]]));
  test("from a CSV file, with quotes, commas and line ends in cells", () =>
    expect(cells('name,says\r\n"Ann, B","""Hi""\nthere"\r\n\r\n')).toEqual([["name", "says"], ["Ann, B", '"Hi"\nthere']]));
  test("with semicolons", () => expect(cells("a;b\nc;d")).toEqual([["a", "b"], ["c", "d"]]));
  test("of one column", () => expect(cells("cat\ndog")).toEqual([["cat"], ["dog"]]));
  test("of nothing", () => expect(cells("\n \n")).toEqual([]));
});

describe("a template", () => {
  test("names its columns once each, in order", () =>
    expect(namesIn("{{b}} and {{ a }} and {{b}}, not {c} nor {{d e}}")).toEqual(["b", "a"]));
  test("takes a head in any order", () =>
    expect(valuesOf(tableOf("place\tanimal\nsea\tcat", ["animal", "place"]))).toEqual([{ place: "sea", animal: "cat" }]));
  test("takes rows without a head", () =>
    expect(valuesOf(tableOf("cat\tsea\ndog\twood", ["animal", "place"]))).toEqual([
      { animal: "cat", place: "sea" },
      { animal: "dog", place: "wood" },
    ]));
  test("is filled once: a value with braces stays as it is", () =>
    expect(filled("{{a}} {{b}} {{z}}", { a: "{{b}}", b: "$1" })).toBe("{{b}} $1 {{z}}"));
});
