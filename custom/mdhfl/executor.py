"""FLARE's side of `site.py`: a task is a request, its result an answer. No arithmetic here."""

from pathlib import Path

from nvflare.apis.dxo import DXO, DataKind, from_shareable
from nvflare.apis.executor import Executor
from nvflare.apis.fl_constant import ReturnCode
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable, make_reply
from nvflare.apis.signal import Signal

from mdhfl.messages import Answer, Request
from mdhfl.site import Site
from mdhfl.site_settings import read_site_settings


class SiteExecutor(Executor):
    """Answers the server's requests with what `site.json` describes. The job never names an architecture."""

    def __init__(self, *, site_config: str) -> None:
        """Take the path of this site's settings.

        Args:
            site_config: path of site.json; {workspace} (the folder of the site's startup kit) and {site} are filled in.
        """
        super().__init__()
        self.site_config = site_config
        self._site: Site | None = None

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """Answer one request. Never raises: FLARE must not lose a site to a bad round."""
        from mdhfl.training import Aborted

        name = fl_ctx.get_identity_name()
        round_ = -1
        try:
            request = Request.from_wire(from_shareable(shareable).data)
            round_ = request.round
            answer = self._open(name, fl_ctx).answer(request, should_stop=lambda: abort_signal.triggered)
        except Aborted:
            return make_reply(ReturnCode.TASK_ABORTED)
        except Exception as error:
            self.log_exception(fl_ctx, f"{task_name} failed")
            answer = Answer(site=name, round=round_, refusal=f"site {name!r}: {type(error).__name__}: {error}")
        if answer.refusal:
            self.log_error(fl_ctx, answer.refusal)
        return DXO(data_kind=DataKind.APP_DEFINED, data=answer.to_wire()).to_shareable()

    def _open(self, name: str, fl_ctx: FLContext) -> Site:
        if self._site is None:
            workspace = fl_ctx.get_engine().get_workspace().get_root_dir()
            path = Path(self.site_config.format(workspace=workspace, site=name))
            settings = read_site_settings(path)
            if settings.site != name:
                raise ValueError(f"{path}: expected the settings of site {name!r}, got those of {settings.site!r}")
            self._site = Site(settings)
        return self._site
