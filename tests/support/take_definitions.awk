# Copies named top-level definitions of one version of a C file into another version of it.
#
#   awk -v names="f,g,STRUCT" -f take_definitions.awk NEW.c OLD.c > OLD_with_them.c
#
# A distribution's update often brings many unrelated changes in the same file (a new upstream
# release, a reformatted source). A fix for one CVE is then the new text of the functions that it
# changed. A definition is a function, a struct, union or enum with a tag, or a macro; it is found by
# the layout that practically all C projects keep: it begins in column 0 and its closing brace stands
# in column 0. That is deliberately not a C parser: braces inside of #ifdef branches do not balance,
# column 0 does.
#
# A name that only the new file has is inserted before the first definition that follows it there and
# that both have. A name that the new file does not have is an error (exit 3).

function block_name(header,   h) {
  h = header
  gsub(/__attribute__ *\(\([^)]*\)+/, " ", h)
  if (h ~ /^#[ \t]*define/) {
    sub(/^#[ \t]*define[ \t]+/, "", h)
    match(h, /^[A-Za-z_0-9]+/)
    return substr(h, RSTART, RLENGTH)
  }
  if (match(h, /[A-Za-z_][A-Za-z_0-9]*[ \t\n]*\(/)) {
    h = substr(h, RSTART, RLENGTH)
    match(h, /^[A-Za-z_0-9]+/)
    return substr(h, RSTART, RLENGTH)
  }
  sub(/[ \t\n]*\{.*/, "", h)
  sub(/[ \t\n]+$/, "", h)
  if (match(h, /[A-Za-z_][A-Za-z_0-9]*$/)) return substr(h, RSTART, RLENGTH)
  return ""
}

# Splits the lines of file `f` into blocks: name[f,i] ("" for the text between definitions), text[f,i].
function emit(f, nm, txt) {
  if (txt == "") return
  count[f]++
  name[f, count[f]] = nm
  text[f, count[f]] = txt
}

function split_file(f,   i, line, state, header, between, body) {
  state = "between"; header = ""; between = ""; body = ""
  in_comment = 0
  for (i = 1; i <= lines[f]; i++) {
    line = src[f, i]
    if (state == "body") {
      body = body line "\n"
      if (line ~ /^}/) { emit(f, block_name(header), body); state = "between"; header = ""; body = "" }
      continue
    }
    if (state == "macro") {
      body = body line "\n"
      if (line !~ /\\$/) { emit(f, block_name(header), body); state = "between"; header = ""; body = "" }
      continue
    }
    if (in_comment) {
      between = between header line "\n"; header = ""
      if (line ~ /\*\//) in_comment = 0
      continue
    }
    if (header == "" && line ~ /^[ \t]*\/\*/) {
      between = between line "\n"
      if (line !~ /\*\//) in_comment = 1
      continue
    }
    if (line ~ /^#[ \t]*define[ \t]/) {
      between = between header
      emit(f, "", between); between = ""
      header = line
      body = line "\n"
      if (line ~ /\\$/) { state = "macro"; continue }
      emit(f, block_name(header), body); header = ""; body = ""
      continue
    }
    if (header == "" && line !~ /^[A-Za-z_]/) { between = between line "\n"; continue }
    # A header: from its first line in column 0 to the opening brace.
    if (line ~ /^[ \t]*$/ || line ~ /^#/ || line ~ /;[ \t]*(\/\*.*)?$/) {
      between = between header line "\n"; header = ""
      continue
    }
    header = header line "\n"
    if (line ~ /\{[ \t]*(\/\*.*\*\/[ \t]*)?$/) {
      emit(f, "", between); between = ""
      body = header; state = "body"
      continue
    }
    if (line ~ /\{.*}[ \t;]*$/) {  # all on one line
      emit(f, "", between); between = ""
      emit(f, block_name(header), header); header = ""
    }
  }
  emit(f, "", between header body)
}

FNR == 1 { file++ }
{ src[file, FNR] = $0; lines[file] = FNR }

END {
  split_file(1); split_file(2)
  n = split(names, wanted, ",")
  for (k = 1; k <= n; k++) want[wanted[k]] = 1
  for (i = 1; i <= count[1]; i++) {
    nm = name[1, i]
    if (nm == "") continue
    seen[1, nm]++
    new_text[nm, seen[1, nm]] = text[1, i]
  }
  for (i = 1; i <= count[2]; i++) if (name[2, i] != "") old_has[name[2, i]]++
  for (nm in want) {
    if (!((1, nm) in seen)) {
      printf "take_definitions: the newer file has no definition of %s\n", nm > "/dev/stderr"
      exit 3
    }
  }
  # Where a definition that is new goes: before the first following one that the old file has too.
  pending = ""
  for (i = 1; i <= count[1]; i++) {
    nm = name[1, i]
    if (nm == "") continue
    if ((nm in want) && !(nm in old_has)) pending = pending text[1, i] "\n"
    else if (pending != "" && (nm in old_has)) { before[nm] = before[nm] pending; pending = "" }
  }
  for (i = 1; i <= count[2]; i++) {
    nm = name[2, i]
    if (nm != "" && (nm in before)) { printf "%s", before[nm]; delete before[nm] }
    if (nm != "" && (nm in want)) {
      at[nm]++
      if ((nm, at[nm]) in new_text) { printf "%s", new_text[nm, at[nm]]; continue }
    }
    printf "%s", text[2, i]
  }
  printf "%s", pending
}
