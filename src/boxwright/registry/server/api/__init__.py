"""The wire: what requests carry and what is answered to them."""
