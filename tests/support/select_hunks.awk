# Filters a unified diff.
#   -v mode=files  -v skip=REGEX   leaves out the files whose path (after the first component) matches
#   -v mode=hunks  -v want=REGEX   keeps the hunks that add or remove a line that matches
# Lines inside of a hunk are counted, so that a removed line that begins with "-- " is not a header.

function flush_hunk() {
  if (hunk != "" && keep && (mode == "files" || hit)) {
    if (head != "") { printf "%s", head; head = "" }
    printf "%s", hunk
  }
  hunk = ""; hit = 0
}
old_left > 0 || new_left > 0 {
  hunk = hunk $0 "\n"
  c = substr($0, 1, 1)
  if (c == "-") { old_left--; if (mode == "hunks" && substr($0, 2) ~ want) hit = 1 }
  else if (c == "+") { new_left--; if (mode == "hunks" && substr($0, 2) ~ want) hit = 1 }
  else if (c != "\\") { old_left--; new_left-- }
  next
}
/^\\/ { hunk = hunk $0 "\n"; next }
/^--- / { flush_hunk(); from = $0; next }
/^\+\+\+ / {
  path = $2
  if (path == "/dev/null") { split(from, part, /[ \t]/); path = part[2] }
  sub(/^[^\/]*\//, "", path)
  keep = (mode == "hunks") || (path !~ skip)
  head = from "\n" $0 "\n"
  next
}
/^@@ / {
  flush_hunk()
  split($2, a, ","); split($3, b, ",")
  old_left = (2 in a) ? a[2] + 0 : 1
  new_left = (2 in b) ? b[2] + 0 : 1
  hunk = $0 "\n"
  next
}
{ flush_hunk() }
END { flush_hunk() }
