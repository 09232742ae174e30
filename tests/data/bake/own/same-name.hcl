target "default" {
  args       = { ONE = "first", TWO = "first" }
  tags       = ["echo:1"]
  platforms  = ["linux/s390x"]
  cache-from = ["type=local,src=one"]
  labels     = { a = "1" }
}
target "default" {
  args       = { TWO = "second", THREE = "second" }
  tags       = ["echo:2", "echo:two"]
  cache-from = ["type=local,src=two"]
  labels     = { b = "2" }
  target     = "later"
}
