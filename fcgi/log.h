#pragma once

/* Writes one line to standard error: the time (UTC), the program with its pid, and the message.
 *
 *   detail   behind the message, with a colon; may be empty */
void log_error(const char *message, const char *detail);
