/*
 * ACPI tables out of a fuzzer's bytes: fuzz_acpi.h tells their form.  The tables of the last input
 * are freed when the next one comes.
 */
#include "tests/lib/fuzz_acpi.h"

#include <string.h>

#include "tests/lib/acpi_build.h"

static struct acpi_build b;

static void
add(const char sig[4], const uint8_t *data, uint32_t size)
{
	uint8_t *t = ab_table(&b, sig, ACPI_HEADER + size);

	if (size != 0)
		memcpy(t + ACPI_HEADER, data, size);
	t[8] = 6;
	/* FADT: its DSDT is the table before it. */
	if (memcmp(sig, "FACP", 4) == 0 && size >= 8 && b.count >= 2)
		ab_put32(t + 40, (uint32_t)b.region[b.count - 2].at);
}

const struct acpi_source *
fuzz_acpi_one(const char sig[4], const uint8_t *data, size_t size)
{
	ab_free(&b);
	add(sig, data, (uint32_t)size);
	ab_finish(&b, AB_XSDT);
	return ab_source(&b);
}

const struct acpi_source *
fuzz_acpi(const uint8_t *data, size_t size)
{
	bool bad[AB_TABLES] = { 0 };

	ab_free(&b);
	while (size >= 6 && b.count < AB_TABLES - 4) {
		uint32_t len = (uint32_t)data[4] | (uint32_t)(data[5] & 0x7f) << 8;

		if (len > size - 6)
			len = (uint32_t)size - 6;
		bad[b.count] = (data[5] & 0x80) != 0;
		add((const char *)data, data + 6, len);
		data += 6 + len;
		size -= 6 + len;
	}
	ab_finish(&b, b.count % 2 == 0 ? AB_XSDT : AB_BOTH);
	for (uint32_t i = 0; i < AB_TABLES; i++)
		if (bad[i])
			b.region[i].bytes[9]++;
	return ab_source(&b);
}
