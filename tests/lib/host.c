/* Linked with every host test: libatf keeps its lists of test cases until the end, which is no leak
 * of ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_options(void);

const char *
__lsan_default_suppressions(void)
{
	return "leak:libatf-c.so";
}

const char *
__lsan_default_options(void)
{
	return "print_suppressions=0";	/* Kyua takes any output of "-l" on stderr for a failure */
}
