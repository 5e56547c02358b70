# The oldest Nix that evaluates this tree
"2.3"
