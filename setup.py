"""What pyproject.toml cannot say: where autoattach.pth goes, and the licence to every setuptools. The rest is there."""

import os

from setuptools import setup
from setuptools.command.build_py import build_py as _build_py

HOOK = "autoattach.pth"
# The other door, which `autoattach run` takes along
DOOR = os.path.join("sitecustomize_template", "sitecustomize.py")
INSTALLED = os.path.join("autoattach", "_sitecustomize", "sitecustomize.py")


class build_py(_build_py):
    """Build the package, and lay the start-up hook beside it, at the root of site-packages; the door goes inside.

    ``data_files``, ``package_data`` and an ``install_lib`` of our own each miss at least one installer; this
    reaches pip, uv and build, plain, editable and ``--user``.
    """

    def run(self):
        super().run()
        if not self.editable_mode:  # there the checkout's own is used or, in strict mode, what the mapping says
            self.mkpath(os.path.dirname(os.path.join(self.build_lib, INSTALLED)))
            self.copy_file(DOOR, os.path.join(self.build_lib, INSTALLED), preserve_mode=False)
        self.copy_file(HOOK, os.path.join(self._hook_folder(), HOOK), preserve_mode=False)

    def _hook_folder(self):
        if self.editable_mode:
            # The root of the editable wheel: build_lib is not packed there.
            return self.get_finalized_command("install").install_lib
        return self.build_lib

    def get_outputs(self, include_bytecode=1):
        outputs = [*super().get_outputs(include_bytecode), os.path.join(self.build_lib, INSTALLED)]
        if not self.editable_mode:
            outputs.append(os.path.join(self.build_lib, HOOK))
        return outputs

    def get_output_mapping(self):
        mapping = {**super().get_output_mapping(), os.path.join(self.build_lib, INSTALLED): DOOR}
        if not self.editable_mode:
            mapping[os.path.join(self.build_lib, HOOK)] = HOOK
        return mapping

    def get_source_files(self):
        return [*super().get_source_files(), HOOK, DOOR]


setup(cmdclass={"build_py": build_py}, license="MIT")
