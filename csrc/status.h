// The status codes that functions here return, as PJRT and XLA number them (absl::StatusCode); 0 is success.
#ifndef GORUN_STATUS_H
#define GORUN_STATUS_H

enum {
  STATUS_UNKNOWN = 2,
  STATUS_INVALID_ARGUMENT = 3,
  STATUS_NOT_FOUND = 5,
  STATUS_UNIMPLEMENTED = 12,
  STATUS_INTERNAL = 13,
};

#endif
