/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of load: each returns how often what came back was not what had been put in. */
#ifndef LOAD_H
#define LOAD_H

int load_files(const char *directory);
int load_sockets(void);
int load_memory(void);
int load_tasks(void);

#endif
