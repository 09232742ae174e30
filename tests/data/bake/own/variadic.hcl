function "image" {
  params          = [repository]
  variadic_params = words
  result          = "registry.example/${repository}:${length(words) == 0 ? "edge" : join("-", words)}"
}
function "sum" {
  params          = []
  variadic_params = terms
  result          = length(terms) == 0 ? 0 : max(terms...)
}
function "stamp" {
  params = [text, times]
  result = join("", [for _ in range(times) : image(text, "x", times)])
}
target "default" {
  tags = [image("loom"), image("loom", "1"), image("loom", "1", "slim"), image(["loom", "2", "wide"]...)]
  args = {
    most    = sum(4, 19, 6)
    nothing = sum()
    stamped = stamp("thread", 2)
  }
}
