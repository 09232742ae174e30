variable "HOME" { default = "/nowhere" }
variable "COLOUR" { default = "ochre" }
variable "SHADE" { default = "dark ${COLOUR}" }
variable "COATS" {
  type        = number
  default     = 3
  description = "how often it is painted"
  validation {
    condition     = COATS > 0
    error_message = "at least one coat"
  }
  validation {
    condition     = COATS < 10
    error_message = "it will never dry"
  }
}
variable "WALLS" {
  type    = list(string)
  default = ["north", "east"]
}
variable "PRICES" {
  type    = map(number)
  default = { ochre = 12.5, umber = "9" }
}
variable "ROOM" {
  type    = object({ name = string, doors = optional(number) })
  default = { name = "parlour" }
}
variable "GLOSS" {
  type    = bool
  default = "true"
}
variable "NOTHING" {
  type    = string
  default = null
}
variable "ANY" {
  type    = any
  default = [1, "two"]
}
variable "SEEN" {
  type    = set(string)
  default = ["b", "a", "b"]
}
target "default" {
  args = {
    HOME_IS = HOME
    SHADE   = SHADE
    COATS   = COATS + 1
    WALLS   = join("/", WALLS)
    PRICE   = PRICES[COLOUR] + PRICES.umber
    DOORS   = "${ROOM.name} has ${ROOM.doors == null ? "no" : ROOM.doors}"
    GLOSS   = GLOSS ? "gloss" : "matt"
    NOTHING = NOTHING
    ANY     = jsonencode(ANY)
    SEEN    = jsonencode(SEEN)
  }
}
