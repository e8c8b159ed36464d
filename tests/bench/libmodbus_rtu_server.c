/* The reference of the RTU part: libmodbus as slave 1 with 65536 registers on a serial port.
 * Prints a line when the port is open, then serves until it is killed. Usage: DEVICE BAUDRATE */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <modbus/modbus.h>

#define REGISTERS 65536

static void fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

int main(int count, char **arguments)
{
    if (count != 3)
        return 2;
    modbus_t *context = modbus_new_rtu(arguments[1], atoi(arguments[2]), 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, REGISTERS);
    if (context == NULL || map == NULL)
        fail("libmodbus");
    modbus_set_slave(context, 1);
    if (modbus_connect(context) < 0)
        fail("modbus_connect");
    puts("ready");
    fflush(stdout);

    uint8_t request[MODBUS_RTU_MAX_ADU_LENGTH];
    for (;;) {
        int length = modbus_receive(context, request);
        if (length > 0)
            modbus_reply(context, request, length, map);
        else if (length < 0 && errno == EIO)
            return 0;
    }
}
