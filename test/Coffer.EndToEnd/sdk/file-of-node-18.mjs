// Node 18 has the class File, but not as a global, where the client below looks for it.

import { File } from 'node:buffer';

globalThis.File ??= File;
