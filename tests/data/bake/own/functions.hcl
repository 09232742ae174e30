function "tag" {
  params = [name, version]
  result = "example.com/${name}:${version}"
}
function "all" {
  params = [first]
  variadic_params = rest
  result = concat([first], rest)
}
function "twice" {
  params = [x]
  result = tag(x, tag(x, "1"))
}
prefix = "p-${suffix}"
suffix = upper("s")
target "default" {
  tags = [tag("a", "1"), replace(twice("b"), "/", "-")]
  args = { all = join("+", all("x", "y", "z")), prefix = prefix, n = length(all("a")) }
}
