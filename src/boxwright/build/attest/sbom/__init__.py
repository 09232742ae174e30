"""Bills of materials: which packages of which kinds the files of a tree say are installed in it.

Nothing of the tree runs, nothing is mounted, nothing is fetched. Every reader takes hostile bytes: it is bounded in
what it reads and yields, and what it cannot read it leaves out.
"""
