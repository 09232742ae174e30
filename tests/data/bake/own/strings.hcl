fruit = "  Quince and Medlar  "
target "default" {
  args = {
    trimmed  = trimspace(fruit)
    shouted  = upper(trimspace(fruit))
    quiet    = lower(fruit)
    titled   = title("late frost in may")
    words    = join("|", split(" ", trimspace(fruit)))
    middle   = substr("orchard", 2, 4)
    tail     = substr("orchard", -3, -1)
    backward = reverse("orchard")
    long     = strlen("Öl und Most")
    padded   = format("%-8s<%4d>%06.2f", "must", 12, 7.256)
    listed   = join(";", formatlist("%s@%d", ["jar", "crate"], [3, 40]))
    pruned   = trimsuffix(trimprefix("v2.9-rc", "v"), "-rc")
    stripped = trim("..pips..", ".")
    swapped  = replace("pear-plum-pear", "pear", "fig")
    inner    = indent(3, "press:\nfilter\nbottle")
    clean    = chomp("cider\n\n")
    sorted   = join(",", sort(["sloe", "apple", "Damson"]))
    safe     = sanitize("press/run:4.1 beta")
    file     = basename("/srv/press/log.txt")
    folder   = dirname("/srv/press/log.txt")
  }
}
