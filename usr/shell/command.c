/*
 * From a line to a command: words, quotes, semicolons, how many arguments a command takes, numbers.
 *
 * A command's synopsis ("DEV [OFFSET LENGTH]") is what help prints and also what is checked: words
 * outside brackets must be there, those inside may be, all of a bracket or none.  So a command
 * never sees a number of arguments that it does not know.
 */
#include "usr/shell/shell.h"

enum { WORDS = 16 };

int run_failed;
static const struct command *current;	/* for messages */

const char *
command_name(void *arg UNUSED, const char *prefix, size_t len, unsigned n)
{
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strncmp(c->name, prefix, len) == 0 && n-- == 0)
			return c->name;
	return NULL;
}

static const struct command *
find(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

static void
print_usage(const struct command *c)
{
	print("usage: %s%s%s\n", c->name, c->args[0] != 0 ? " " : "", c->args);
}

int
usage(const char *format, ...)
{
	char text[200];
	va_list ap;

	va_start(ap, format);
	fmt_vbuf(text, sizeof(text), format, ap);
	va_end(ap);
	print("%s: %s\n", current != NULL ? current->name : "shell", text);
	if (current != NULL)
		print_usage(current);
	return 1;
}

/* The numbers of arguments that fit a synopsis: bit n for n. */
static uint32_t
arity(const char *args)
{
	uint32_t fits = 0, n = 0;
	char quote = 0;
	bool inside = false;

	for (const char *p = args; *p != 0; p++) {
		if (quote != 0) {
			quote = *p == quote ? 0 : quote;
			continue;
		}
		if (*p == '[')
			fits |= 1u << n;
		if (*p == '[' || *p == ']' || *p == ' ') {
			inside = false;
			continue;
		}
		if (*p == '"')
			quote = *p;
		n += !inside;
		inside = true;
	}
	return fits | 1u << n;
}

/* Splits at spaces; quotes keep them.  The number of words, or -1 after saying what is wrong. */
static int
split(char *line, char **argv)
{
	int n = 0;

	for (;;) {
		char end = ' ';

		while (*line == ' ')
			line++;
		if (*line == 0)
			return n;
		if (n == WORDS) {
			print("more than %u words; text with spaces goes in quotes\n", WORDS);
			return -1;
		}
		if (*line == '"' || *line == '\'')
			end = *line++;
		argv[n++] = line;
		while (*line != 0 && *line != end)
			line++;
		if (*line == 0 && end != ' ') {
			print("the quote %c is not closed\n", end);
			return -1;
		}
		if (*line != 0)
			*line++ = 0;
	}
}

/* One command without semicolons. */
static int
run_one(char *line)
{
	char *argv[WORDS];
	int argc = split(line, argv), result;
	const struct command *c, *outer = current;
	uint32_t fits;

	if (argc <= 0)
		return argc < 0;
	c = find(argv[0]);
	if (c == NULL) {
		print("%.60s: no such command; \"help\" lists them\n", argv[0]);
		return 1;
	}
	current = c;
	fits = arity(c->args);
	if (argc == 2 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0))
		result = help_about(c);
	else if ((fits >> (argc - 1) & 1) != 0)
		result = c->fn(argc, argv);
	else if (fits >> (argc - 1) == 0)
		result = usage("too many arguments");
	else
		result = usage(argc == 1 ? "an argument is missing" : "the arguments do not fit");
	current = outer;
	return result;
}

int
run(char *line, const char *echo)
{
	int failed = 0;

	while (*line != 0 && !interrupted()) {
		char *end = line, quote = 0;
		int s;

		/* A semicolon inside quotes belongs to the command. */
		for (; *end != 0 && (*end != ';' || quote != 0); end++) {
			if (quote == 0 && (*end == '"' || *end == '\''))
				quote = *end;
			else if (*end == quote)
				quote = 0;
		}
		if (*end != 0)
			*end++ = 0;
		while (*line == ' ')
			line++;
		if (*line != 0) {
			if (echo != NULL)
				print("%s%s\n", echo, line);
			s = run_one(line);
			failed = s != 0 ? s : failed;
			if (echo != NULL)
				run_failed = failed;
		}
		line = end;
	}
	return failed;
}

bool
number(const char *s, uint64_t *out)
{
	static const struct {
		char letter;
		uint8_t shift;
	} unit[] = { { 'k', 10 }, { 'm', 20 }, { 'g', 30 }, { 't', 40 } };
	uint64_t v = 0;
	unsigned base = 10;
	const char *begin;

	if (s[0] == '0' && (s[1] | 0x20) == 'x') {
		base = 16;
		s += 2;
	}
	for (begin = s; *s != 0; s++) {
		char c = (char)(*s | 0x20);
		unsigned d = *s >= '0' && *s <= '9'    ? (unsigned)(*s - '0') :
		    base == 16 && c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) :
							 99;

		if (d < base) {
			if (v > (UINT64_MAX - d) / base)
				return false;
			v = v * base + d;
			continue;
		}
		for (unsigned i = 0; i < ARRAY_SIZE(unit) && s != begin && s[1] == 0; i++) {
			if (c == unit[i].letter && v >> (64 - unit[i].shift) == 0) {
				*out = v << unit[i].shift;
				return true;
			}
		}
		return false;
	}
	*out = v;
	return s != begin;
}

bool
want_number(const char *what, const char *text, uint64_t *out)
{
	if (number(text, out))
		return true;
	(void)usage("%s: \"%s\" is not a number (12, 0x1f, 64K, 2M, 1G)", what, text);
	return false;
}

int
help_about(const struct command *c)
{
	print_usage(c);
	if (c->text[0] != 0)
		print("%s\n", c->text);
	for (const struct note *n = notes; n->name != NULL; n++)
		if (strcmp(n->name, c->name) == 0)
			print("%s\n", n->text);
	return 0;
}

int
cmd_help(int argc, char **argv)
{
	char head[48];

	if (argc == 2) {
		const struct command *c = find(argv[1]);

		return c != NULL ? help_about(c) : usage("there is no command \"%s\"", argv[1]);
	}
	for (const struct command *c = commands; c->name != NULL; c++) {
		fmt_buf(head, sizeof(head), "%s %s", c->name, c->args);
		print("  %-31s %s\n", head, c->text);
	}
	print(
	    "\"help COMMAND\" tells more.  Commands are separated by semicolons, text with spaces goes in quotes, numbers\n"
	    "are as 12, 0x1f, 64K, 2M, 1G.  Ctrl-C stops a command; Tab completes a command;\n"
	    "arrows and Ctrl-A E K U W edit the line (QEMU's terminal takes Ctrl-A itself: type it twice).\n");
	return 0;
}

/* Stops at the first round that fails. */
int
cmd_repeat(int argc UNUSED, char **argv)
{
	char line[512];
	uint64_t n;

	if (!want_number("N", argv[1], &n))
		return 1;
	for (uint64_t i = 0; i < n; i++) {
		int s;

		if (interrupted()) {
			print("repeat: stopped in round %llu of %llu\n", (unsigned long long)i + 1,
			    (unsigned long long)n);
			return 1;
		}
		if (strlen(argv[2]) >= sizeof(line))
			return usage(
			    "the commands are longer than %zu characters", sizeof(line) - 1);
		str_copy(line, argv[2], sizeof(line));
		s = run(line, NULL);
		if (s != 0) {
			print(was_interrupted() ? "repeat: stopped in round %llu of %llu\n" :
						  "repeat: round %llu of %llu failed\n",
			    (unsigned long long)i + 1, (unsigned long long)n);
			return s;
		}
	}
	return 0;
}
