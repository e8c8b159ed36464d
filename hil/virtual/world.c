/*
 * The world around the gateway of the virtual bench: a hand on the push button and the DIP switches, eyes on the lamps
 * and on the resistors of the EIA-485 port. It runs in the guest, before and beside the system that is tested, and talks
 * to the tests over a virtio serial port. One line is one command; each is answered by one line, unless it begins with
 * `@`:
 *
 *   pull LINE 0|1              drive an input of the simulated GPIO chip     ok
 *   get LINE                   read a line                                  ok 0|1
 *   expander REGISTER [VALUE]  read or write a register of the expander     ok VALUE
 *   power-on                   let the system start                         ok
 *
 * Of itself it says, also in between:
 *
 *   ready                             the machine was started or reset and waits for `power-on`; repeated until then
 *   started                           here it came
 *   lamp MILLISECONDS LINE 0|1        a watched line has changed (CLOCK_BOOTTIME)
 *
 * usage: world DIRECTORY_OF_GPIO_SIM_CHIP I2C_BUS [PORT]
 * returns (forks) at `power-on`, or at once without a port.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define EXPANDER 0x20
#define LINES 54
#define SAMPLE_MS 5

static const int watched[] = {22, 23, 24, 25, 27};
#define WATCHED (int)(sizeof watched / sizeof *watched)

static int port = -1, bus = -1;
static int value_of[LINES], pull_of[LINES];

static void say(const char *format, ...)
{
	char text[120];
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(text, sizeof text - 1, format, arguments);
	va_end(arguments);
	text[length++] = '\n';
	for (int tries = 0; write(port, text, length) < 0 && errno == EAGAIN && tries < 10; tries++)
		poll(&(struct pollfd){.fd = port, .events = POLLOUT}, 1, 100); /* the queue is full, or nobody listens */
}

static int open_line(const char *chip, int line, const char *attribute, int mode)
{
	char path[200];
	snprintf(path, sizeof path, "%s/sim_gpio%d/%s", chip, line, attribute);
	int file = open(path, mode | O_CLOEXEC);
	if (file < 0)
		fprintf(stderr, "world: %s: %s\n", path, strerror(errno));
	return file;
}

static int line_value(int line)
{
	char text = 0;
	return pread(value_of[line], &text, 1, 0) == 1 ? text == '1' : -1;
}

static int expander(int reg, int value, int writes)
{
	union i2c_smbus_data data = {.byte = value};
	struct i2c_smbus_ioctl_data call = {
		.read_write = writes ? I2C_SMBUS_WRITE : I2C_SMBUS_READ,
		.command = reg,
		.size = I2C_SMBUS_BYTE_DATA,
		.data = &data,
	};
	return ioctl(bus, I2C_SMBUS, &call) < 0 ? -1 : data.byte;
}

#define ANSWER(...) (quiet ? (void)0 : say(__VA_ARGS__))

/* Does what one command says and answers it; 1 when it was `power-on`. */
static int obey(const char *command)
{
	int line, value, reg, count;
	int quiet = *command == '@';
	command += quiet;
	if (sscanf(command, "pull %d %d", &line, &value) == 2 && line >= 0 && line < LINES) {
		const char *pull = value ? "pull-up" : "pull-down";
		if (pwrite(pull_of[line], pull, strlen(pull), 0) < 0)
			ANSWER("error pull %d: %s", line, strerror(errno));
		else
			ANSWER("ok");
	} else if (sscanf(command, "get %d", &line) == 1 && line >= 0 && line < LINES) {
		ANSWER("ok %d", line_value(line));
	} else if ((count = sscanf(command, "expander %d %d", &reg, &value)) >= 1) {
		value = expander(reg, count == 2 ? value : 0, count == 2);
		if (value < 0)
			ANSWER("error expander: %s", strerror(errno));
		else
			ANSWER("ok %d", value);
	} else if (!strcmp(command, "power-on")) {
		ANSWER("ok");
		return 1;
	} else {
		ANSWER("error unknown command: %.80s", command);
	}
	return 0;
}

static void look(void)
{
	static int last[WATCHED];
	static int looked;
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	for (int i = 0; i < WATCHED; i++) {
		int value = line_value(watched[i]);
		if (!looked || value != last[i])
			say("lamp %lld %d %d", now.tv_sec * 1000LL + now.tv_nsec / 1000000, watched[i], value);
		last[i] = value;
	}
	looked = 1;
}

int main(int argc, char **argv)
{
	static char buffer[256];
	int length = 0, started = 0;

	if (argc < 3) {
		fprintf(stderr, "usage: world DIRECTORY_OF_GPIO_SIM_CHIP I2C_BUS [PORT]\n");
		return 2;
	}
	bus = open(argv[2], O_RDWR | O_CLOEXEC);
	if (bus < 0 || ioctl(bus, I2C_SLAVE_FORCE, EXPANDER) < 0)
		fprintf(stderr, "world: %s: %s\n", argv[2], strerror(errno));
	/* A TCA9534 after power-up: inputs high, outputs 1, not inverted, all pins inputs. */
	expander(0, 0xff, 1);
	expander(1, 0xff, 1);
	expander(2, 0x00, 1);
	expander(3, 0xff, 1);
	for (int line = 0; line < LINES; line++) {
		value_of[line] = open_line(argv[1], line, "value", O_RDONLY);
		pull_of[line] = open_line(argv[1], line, "pull", O_WRONLY);
	}
	pwrite(pull_of[5], "pull-up", 7, 0); /* the push button is not pressed */

	if (argc < 4)
		return 0;
	port = open(argv[3], O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (port < 0) {
		fprintf(stderr, "world: %s: %s\n", argv[3], strerror(errno));
		return 1;
	}
	for (unsigned round = 0;; round++) {
		struct pollfd waiting = {.fd = port, .events = POLLIN};
		if (!started && round % 40 == 0)
			say("ready");
		poll(&waiting, 1, SAMPLE_MS);
		if (waiting.revents & POLLIN) {
			int got = read(port, buffer + length, sizeof buffer - 1 - length);
			length += got > 0 ? got : 0;
			buffer[length] = 0;
			for (char *end; (end = strchr(buffer, '\n'));) {
				*end = 0;
				if (obey(buffer) && !started) {
					started = 1;
					say("started");
					if (fork())
						_exit(0);
					setsid();
				}
				length -= end + 1 - buffer;
				memmove(buffer, end + 1, length + 1);
			}
			if (length == sizeof buffer - 1)
				length = 0;
		} else if (waiting.revents & POLLHUP) {
			nanosleep(&(struct timespec){.tv_nsec = 50000000}, 0); /* no test is connected */
		}
		look();
	}
}
