package host

import _ "example.org/planted/store"
