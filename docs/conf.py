"""The site: `python -m sphinx -W -c docs . site`, or `.ci/run docs` in a fresh environment.

The source folder is the repository, so that links between docs/ and studies/ are the same on the
site and in the repository.
"""

import predictlearn

project = "predictlearn"
author = "The predictlearn developers"
project_copyright = "2026, The predictlearn developers"
version = release = predictlearn.__version__

root_doc = "docs/index"
include_patterns = ["docs/**", "studies/**", "datasets/README.md", "CONTRIBUTING.md"]
exclude_patterns = ["docs/README.md"]  # index.md holds it

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 4
highlight_language = "none"
smartquotes = False  # a quote in a docstring is one of the code

# docstrings are numpydoc; a single backtick in them is a name of the code
default_role = "literal"
autodoc_default_options = {
    "members": True,
    "member-order": "bysource",
    # scikit-learn's own, which say nothing of this package
    "exclude-members": "set_fit_request, set_predict_request, set_score_request",
}
autodoc_typehints = "none"
napoleon_google_docstring = False
# types say shapes in words: they are shown as they are, not taken for names to link to
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]

html_theme = "furo"
html_theme_options = {"top_of_page_buttons": []}
html_title = f"predictlearn {version}"
html_extra_path = ["front"]  # index.html, which leads to docs/index.html
