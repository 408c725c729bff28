"""How Sphinx builds these pages: `nox -s docs`."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "autoattach"
author = "The autoattach developers"
copyright = author
release = re.findall(r'__version__ = "(.+)"', (HERE.parent / "autoattach" / "__init__.py").read_text("utf-8"))[0]
version = release

extensions = ["sphinx.ext.autodoc", "autoattach_pages"]
exclude_patterns = ["_build"]
root_doc = "index"
default_role = "code"
highlight_language = "none"
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpicky = True
# What a signature names of Python's own, or of an inner module, has no page here.
nitpick_ignore_regex = [("py:.*", r"(?!autoattach\.).*"), ("py:.*", r"autoattach\._.*")]

html_theme = "alabaster"
html_theme_options = {
    "description": "START_DEBUGGER=1 python app.py, and your IDE stops at your breakpoint",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "show_powered_by": False,
}
html_show_copyright = False
html_static_path = []
html_copy_source = False
