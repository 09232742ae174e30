"""Container networks: addresses and names in the database, bridges and veth pairs by netlink, NAT by iptables."""
