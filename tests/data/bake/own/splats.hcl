hives = [
  { queen = "Ada", frames = [{ weight = 2 }, { weight = 5 }], seat = { row = "A" } },
  { queen = "Bea", frames = [{ weight = 7 }], seat = { row = "C" } },
]
single = { queen = "Cleo" }
absent = null
target "default" {
  args = {
    queens  = join(",", hives[*].queen)
    queens2 = join(",", hives.*.queen)
    rows    = join(",", hives[*].seat.row)
    first   = jsonencode(hives[*].frames[0].weight)
    all     = jsonencode(flatten(hives[*].frames[*].weight))
    one     = jsonencode(single[*].queen)
    none    = jsonencode(absent[*])
    spread  = max(flatten(hives[*].frames[*].weight)...)
  }
  tags = formatlist("hive:%s", [for q in hives[*].queen : lower(q)])
}
