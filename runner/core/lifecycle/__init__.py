"""When each unit may begin, what its end means, and which hosts are there; `lifecycle` is the way in."""
