package host

import _ "example.org/planted/node" // want: import
