// Values that stand by themselves, in any order.
third = "${second}!"
first = 3 # a number
second = join("-", [for n in range(first) : "tick${n}"])
/* and over
   several lines */
lookup_of = { (second) = "found", "two words" = 2, bare : true }
target "default" {
  args = {
    third = third, found = lookup_of["tick0-tick1-tick2"]
    words = lookup_of["two words"]
    bare  = lookup_of.bare
    last  = [[1, 2], [3, 4]][1][0]
  }
}
