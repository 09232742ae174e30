shelves = {
  north = ["jam", "chutney", "jam"]
  south = ["honey"]
  west  = []
}
target "default" {
  args = {
    names     = join(",", keys(shelves))
    all       = join(",", flatten(values(shelves)))
    once      = join(",", distinct(flatten(values(shelves))))
    how_many  = length(keys(shelves))
    has_honey = contains(shelves.south, "honey")
    fallback  = join(",", lookup(shelves, "east", ["empty"]))
    merged    = jsonencode(merge(shelves, { west = ["wax"], east = ["comb"] }))
    pairs     = jsonencode(setproduct(["small", "large"], ["lid", "cork"]))
    zipped    = jsonencode(zipmap(["a", "b"], [10, 20]))
    chunks    = jsonencode(chunklist(["p", "q", "r", "s", "t"], 2))
    wrapped   = element(["one", "two", "three"], 7)
    cut       = join(",", slice(["one", "two", "three", "four"], 1, 3))
    turned    = join(",", reverselist(["one", "two", "three"]))
    steps     = jsonencode(range(2, 11, 4))
    where     = indexof(["one", "two", "three"], "three")
    at        = index(["ebb", "flow"], 1)
    known     = hasindex(shelves.south, 1)
    filled    = jsonencode(compact(["", "lid", "", "cork"]))
    first     = coalesce(null, null, "last resort")
    some      = jsonencode(coalescelist([], shelves.west, shelves.south))
    joined    = jsonencode(concat(shelves.north, shelves.south))
    union     = jsonencode(setunion(["b", "a"], ["a", "d"]))
    common    = jsonencode(setintersection(["b", "a"], ["a", "d"]))
    less      = jsonencode(setsubtract(["b", "a"], ["a", "d"]))
    either    = jsonencode(setsymmetricdifference(["b", "a"], ["a", "d"]))
    part      = jsonencode(sethaselement(["b", "a"], "b"))
  }
}
