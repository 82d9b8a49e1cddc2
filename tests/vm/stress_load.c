// SPDX-License-Identifier: Apache-2.0
/*
 * stress_load tcp|pipe|fork|files [PAUSE_MS]: does that for ever, with a pause after each ten, and looks at every
 * result. Ended by SIGTERM: says how often it was done, exit 0. The first thing that is not as it must be: says
 * so, exit 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t over;
static const char *what;
static unsigned long rounds, pause_ms;

static void end(int signal)
{
	(void)signal;
	over = 1;
}

static void die(const char *step)
{
	printf("FAILED: load %s: %s after %lu rounds: %s\n", what, step, rounds, strerror(errno));
	exit(1);
}

static int go_on(void)
{
	if (pause_ms && rounds % 10 == 0)
		usleep(pause_ms * 1000);
	return !over;
}

/* A child at the other end gives back what it gets. */
static void echo(int fd)
{
	char buffer[4096];
	ssize_t got;

	while ((got = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t sent = 0, now; sent < got; sent += now)
			if ((now = write(fd, buffer + sent, got - sent)) < 0)
				_exit(1);
	_exit(0);
}

static void say_and_hear(int out, int in)
{
	char said[1000], heard[1000];
	size_t have = 0;

	memset(said, 'a' + rounds % 26, sizeof(said));
	if (write(out, said, sizeof(said)) != sizeof(said))
		die("write");
	while (have < sizeof(heard)) {
		ssize_t now = read(in, heard + have, sizeof(heard) - have);

		if (now <= 0)
			die("read");
		have += now;
	}
	if (memcmp(said, heard, sizeof(said))) {
		errno = EILSEQ;
		die("compare");
	}
}

static int connected(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(listener, (void *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (void *)&address, &size))
		die("listen");
	if (fork() == 0) {
		close(client);
		echo(accept(listener, NULL, NULL));
	}
	close(listener);
	if (connect(client, (void *)&address, sizeof(address)))
		die("connect");
	return client;
}

static void run_tcp(void)
{
	int fd = connected();

	for (; go_on(); rounds++)
		say_and_hear(fd, fd);
}

static void run_pipe(void)
{
	int fds[2];

	if (pipe(fds))
		die("pipe");
	for (; go_on(); rounds++)
		say_and_hear(fds[1], fds[0]);
}

static void run_fork(void)
{
	for (; go_on(); rounds++) {
		int status = -1;
		pid_t child = fork();

		if (child == 0)
			_exit(rounds % 100);
		if (child < 0 || waitpid(child, &status, 0) != child)
			die("fork");
		if (!WIFEXITED(status) || WEXITSTATUS(status) != (int)(rounds % 100))
			die("exit code");
	}
}

static void run_files(void)
{
	char name[64];

	for (; go_on(); rounds++) {
		unsigned long back = 0;
		int fd;

		snprintf(name, sizeof(name), "/tmp/stress_%d_%lu", getpid(), rounds % 16);
		fd = open(name, O_RDWR | O_CREAT, 0600);
		if (fd < 0 || pwrite(fd, &rounds, sizeof(rounds), 0) != sizeof(rounds) ||
		    pread(fd, &back, sizeof(back), 0) != sizeof(back) || back != rounds)
			die("file");
		close(fd);
		if (open("/tmp/none/none", O_RDONLY) >= 0 || errno != ENOENT)
			die("a file that is not there");
		if (unlink(name))
			die("unlink");
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = end, .sa_flags = SA_RESTART };

	what = argc >= 2 ? argv[1] : "";
	pause_ms = argc >= 3 ? strtoul(argv[2], NULL, 10) : 0;
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(what, "tcp"))
		run_tcp();
	else if (!strcmp(what, "pipe"))
		run_pipe();
	else if (!strcmp(what, "fork"))
		run_fork();
	else if (!strcmp(what, "files"))
		run_files();
	else
		return 2;
	printf("load %s: %lu rounds\n", what, rounds);
	return 0;
}
