// check_tree ROOT: prints every breach of the rules of HACKING.md; exit 1 when there is one.
#include <cstdio>

#include "support/tree_rules.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: check_tree ROOT\n");
    return 2;
  }
  const auto findings = livecare::tree::check(argv[1]);
  for (const auto& finding : findings) {
    printf("%s:%zu: %s\n", finding.file.c_str(), finding.line, finding.message.c_str());
  }
  return findings.empty() ? 0 : 1;
}
