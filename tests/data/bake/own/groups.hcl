group "default" { targets = ["kitchen", "hall"] }
group "kitchen" { targets = ["stove", "larder"] }
group "larder" { targets = ["shelf", "crock"] }
group "hall" {
  description = "what a guest sees"
  targets     = ["rug", "shelf"]
}
target "stove" { tags = ["house/stove"] }
target "shelf" { tags = ["house/shelf"] }
target "crock" { tags = ["house/crock"] }
target "rug" { tags = ["house/rug"] }
target "cellar" { tags = ["house/cellar"] }
