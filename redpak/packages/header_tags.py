"""Numbers of the tags in an rpm header, and the kinds of their values. Source: rpm, include/rpm/rpmtag.h."""

from __future__ import annotations

# Kinds of values (rpmTagType).
CHAR, INT8, INT16, INT32, INT64, STRING, BIN, STRING_ARRAY, I18N = range(1, 10)
WIDTH = {CHAR: 1, INT8: 1, INT16: 2, INT32: 4, INT64: 8}  # bytes of one number; also its alignment

I18NTABLE = 100
SIGNATURES = 62  # the region of a signature header
IMMUTABLE = 63  # the region of a package header: what the builder made and signed

# Name -> (number, kind). Names are rpm's, in lower case.
TAGS: dict[str, tuple[int, int]] = {
    "dsaheader": (267, BIN),
    "rsaheader": (268, BIN),
    "sha1header": (269, STRING),
    "longarchivesize": (271, INT64),
    "sha256header": (273, STRING),
    "openpgp": (278, STRING_ARRAY),
    "name": (1000, STRING),
    "version": (1001, STRING),
    "release": (1002, STRING),
    "epoch": (1003, INT32),
    "summary": (1004, I18N),
    "description": (1005, I18N),
    "buildtime": (1006, INT32),
    "buildhost": (1007, STRING),
    "installtime": (1008, INT32),
    "size": (1009, INT32),
    "distribution": (1010, STRING),
    "vendor": (1011, STRING),
    "license": (1014, STRING),
    "packager": (1015, STRING),
    "group": (1016, I18N),
    "url": (1020, STRING),
    "os": (1021, STRING),
    "arch": (1022, STRING),
    "prein": (1023, STRING),
    "postin": (1024, STRING),
    "preun": (1025, STRING),
    "postun": (1026, STRING),
    "filesizes": (1028, INT32),
    "filestates": (1029, CHAR),
    "filemodes": (1030, INT16),
    "filerdevs": (1033, INT16),
    "filemtimes": (1034, INT32),
    "filedigests": (1035, STRING_ARRAY),
    "filelinktos": (1036, STRING_ARRAY),
    "fileflags": (1037, INT32),
    "fileusername": (1039, STRING_ARRAY),
    "filegroupname": (1040, STRING_ARRAY),
    "sourcerpm": (1044, STRING),
    "fileverifyflags": (1045, INT32),
    "archivesize": (1046, INT32),
    "providename": (1047, STRING_ARRAY),
    "requireflags": (1048, INT32),
    "requirename": (1049, STRING_ARRAY),
    "requireversion": (1050, STRING_ARRAY),
    "conflictflags": (1053, INT32),
    "conflictname": (1054, STRING_ARRAY),
    "conflictversion": (1055, STRING_ARRAY),
    "rpmversion": (1064, STRING),
    "triggerscripts": (1065, STRING_ARRAY),
    "triggername": (1066, STRING_ARRAY),
    "triggerversion": (1067, STRING_ARRAY),
    "triggerflags": (1068, INT32),
    "triggerindex": (1069, INT32),
    "verifyscript": (1079, STRING),
    "changelogtime": (1080, INT32),
    "changelogname": (1081, STRING_ARRAY),
    "changelogtext": (1082, STRING_ARRAY),
    "preinprog": (1085, STRING_ARRAY),
    "postinprog": (1086, STRING_ARRAY),
    "preunprog": (1087, STRING_ARRAY),
    "postunprog": (1088, STRING_ARRAY),
    "obsoletename": (1090, STRING_ARRAY),
    "verifyscriptprog": (1091, STRING_ARRAY),
    "triggerscriptprog": (1092, STRING_ARRAY),
    "cookie": (1094, STRING),
    "filedevices": (1095, INT32),
    "fileinodes": (1096, INT32),
    "prefixes": (1098, STRING_ARRAY),
    "provideflags": (1112, INT32),
    "provideversion": (1113, STRING_ARRAY),
    "obsoleteflags": (1114, INT32),
    "obsoleteversion": (1115, STRING_ARRAY),
    "dirindexes": (1116, INT32),
    "basenames": (1117, STRING_ARRAY),
    "dirnames": (1118, STRING_ARRAY),
    "payloadformat": (1124, STRING),
    "payloadcompressor": (1125, STRING),
    "payloadflags": (1126, STRING),
    "installcolor": (1127, INT32),
    "installtid": (1128, INT32),
    "platform": (1132, STRING),
    "filecolors": (1140, INT32),
    "pretrans": (1151, STRING),
    "posttrans": (1152, STRING),
    "pretransprog": (1153, STRING_ARRAY),
    "posttransprog": (1154, STRING_ARRAY),
    "longfilesizes": (5008, INT64),
    "longsize": (5009, INT64),
    "filecaps": (5010, STRING_ARRAY),
    "filedigestalgo": (5011, INT32),
    "bugurl": (5012, STRING),
    "vcs": (5034, STRING),
    "recommendname": (5046, STRING_ARRAY),
    "recommendversion": (5047, STRING_ARRAY),
    "recommendflags": (5048, INT32),
    "suggestname": (5049, STRING_ARRAY),
    "suggestversion": (5050, STRING_ARRAY),
    "suggestflags": (5051, INT32),
    "supplementname": (5052, STRING_ARRAY),
    "supplementversion": (5053, STRING_ARRAY),
    "supplementflags": (5054, INT32),
    "enhancename": (5055, STRING_ARRAY),
    "enhanceversion": (5056, STRING_ARRAY),
    "enhanceflags": (5057, INT32),
    "encoding": (5062, STRING),
    "filetriggerscripts": (5066, STRING_ARRAY),
    "filetriggername": (5069, STRING_ARRAY),
    "transfiletriggerscripts": (5076, STRING_ARRAY),
    "transfiletriggername": (5079, STRING_ARRAY),
    "payloaddigest": (5092, STRING_ARRAY),
    "payloaddigestalgo": (5093, INT32),
    "modularitylabel": (5096, STRING),
    "payloaddigestalt": (5097, STRING_ARRAY),
    "preuntrans": (5104, STRING),
    "postuntrans": (5105, STRING),
    "preuntransprog": (5106, STRING_ARRAY),
    "postuntransprog": (5107, STRING_ARRAY),
}

# The kinds of dependencies.
KINDS = (
    "provides", "requires", "conflicts", "obsoletes", "recommends", "suggests", "supplements", "enhances",
)  # fmt: skip

# Comparisons and properties of a dependency (rpmsenseFlags).
LESS, GREATER, EQUAL = 2, 4, 8
SENSE = LESS | GREATER | EQUAL
RPMLIB = 1 << 24  # what rpm itself must be able to do; no package provides it
CONFIG = 1 << 28
PREREQ = 1 << 6

# Properties of a file (rpmfileAttrs).
FILE_CONFIG, FILE_DOC, FILE_MISSINGOK, FILE_NOREPLACE, FILE_GHOST = 1, 2, 8, 16, 64
FILE_LICENSE, FILE_README, FILE_ARTIFACT = 128, 256, 1 << 12

# States of an installed file (rpmfileState); MISSING where the header does not say.
STATE_NORMAL, STATE_REPLACED, STATE_NOT_INSTALLED, STATE_NETSHARED, STATE_WRONG_COLOR = range(5)
STATE_MISSING = -1

# rpm's numbers of digest algorithms (those of OpenPGP), and hashlib's names.
DIGESTS = {
    1: "md5",
    2: "sha1",
    8: "sha256",
    9: "sha384",
    10: "sha512",
    11: "sha224",
    12: "sha3_256",
    14: "sha3_512",
}
