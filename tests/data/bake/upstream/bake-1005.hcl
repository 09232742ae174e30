
		target "mid" {
			output = ["foo"]
			platforms = ["linux/amd64", "linux/riscv64", "linux/arm64"]
		}
		target "app" {
			contexts = {
				bar: "target:mid"
			}
			platforms = ["linux/amd64", "linux/arm64"]
		}
		