"""Real data sets, one a file: its layout check, its splits and its tiny double."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ._dataset import Dataset as Dataset
from ._dataset import Index as Index
from ._dataset import Part as Part
from ._dataset import Parts as Parts
from .avdigits import AvDigits as AvDigits
from .clips import Ave as Ave
from .clips import KineticsSounds as KineticsSounds
from .cremad import CremaD as CremaD
from .emoji import Emoji as Emoji
from .features import Scene15 as Scene15
from .features import Wikipedia as Wikipedia
from .films import Films as Films
from .flickr import MirFlickr as MirFlickr
from .food101 import Food101 as Food101
from .funny import UrFunny as UrFunny
from .gestures import Ntu60 as Ntu60
from .gestures import NvGesture as NvGesture
from .hog import MnistHog as MnistHog
from .htad import Htad as Htad
from .iemocap import Iemocap as Iemocap
from .mimic import MimicIii as MimicIii
from .mnists import AvMnist as AvMnist
from .mnists import CgMnist as CgMnist
from .mosi import CmuMosei as CmuMosei
from .mosi import CmuMosi as CmuMosi
from .omics import TcgaBrca as TcgaBrca
from .omics import TcgaKipan as TcgaKipan
from .omics import TcgaLgg as TcgaLgg
from .openclipart import OpenClipart as OpenClipart
from .reviews import Mrhp as Mrhp
from .tweets import MvsaSingle as MvsaSingle
from .tweets import Twitter2015 as Twitter2015
from .ucf101 import Ucf101 as Ucf101
from .uci import UciMultipleFeatures as UciMultipleFeatures
from .vggsound import VggSound as VggSound
from .watch import Watch as Watch

DATASETS: Mapping[str, type[Dataset]] = MappingProxyType({
    data.name: data
    for data in (
        Htad,
        UciMultipleFeatures,
        AvDigits,
        CgMnist,
        Wikipedia,
        Scene15,
        Watch,
        Emoji,
        OpenClipart,
        TcgaBrca,
        TcgaKipan,
        TcgaLgg,
        MnistHog,
        Films,
        CremaD,
        KineticsSounds,
        Ave,
        VggSound,
        Ucf101,
        Food101,
        MvsaSingle,
        Twitter2015,
        CmuMosi,
        CmuMosei,
        AvMnist,
        MimicIii,
        Iemocap,
        UrFunny,
        MirFlickr,
        Ntu60,
        NvGesture,
        Mrhp,
    )
})  # fmt: skip
"""Every data set by name."""
