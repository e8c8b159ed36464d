/* The reference of the Modbus part: a select loop around libmodbus that serves 65536 registers on 127.0.0.1.
 * Prints the port it listens on, then serves until it is killed. */

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include <modbus/modbus.h>

#define CLIENTS 6
#define REGISTERS 65536

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void print_port(int listener)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *) &address, &size) < 0)
        fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

/* Without it Nagle and delayed acknowledgements hold back pipelined answers for 40 ms. */
static void send_at_once(int client)
{
    int on = 1;
    if (setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        fail("setsockopt");
}

int main(void)
{
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(0, 0, REGISTERS, REGISTERS);
    if (context == NULL || map == NULL)
        fail("libmodbus");
    int listener = modbus_tcp_listen(context, CLIENTS);
    if (listener < 0)
        fail("modbus_tcp_listen");
    print_port(listener);

    fd_set open;
    FD_ZERO(&open);
    FD_SET(listener, &open);
    int highest = listener;
    uint8_t request[MODBUS_TCP_MAX_ADU_LENGTH];

    for (;;) {
        fd_set ready = open;
        if (select(highest + 1, &ready, NULL, NULL, NULL) < 0)
            fail("select");
        for (int fd = 0; fd <= highest; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == listener) {
                int client = modbus_tcp_accept(context, &listener);
                if (client < 0)
                    fail("modbus_tcp_accept");
                send_at_once(client);
                FD_SET(client, &open);
                if (client > highest)
                    highest = client;
                continue;
            }
            modbus_set_socket(context, fd);
            int length = modbus_receive(context, request);
            if (length > 0)
                modbus_reply(context, request, length, map);
            else if (length < 0) {
                close(fd);
                FD_CLR(fd, &open);
            }
        }
    }
}
