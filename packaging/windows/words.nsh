; What the installer, the uninstaller and the launcher say, in English and Hindi. NSIS takes the language of Windows, and
; English where it is another one. To be included after the languages; variables are put in where a word is shown.

!macro Say NAME ENGLISH HINDI
  LangString ${NAME} ${LANG_ENGLISH} "${ENGLISH}"
  LangString ${NAME} ${LANG_HINDI} "${HINDI}"
!macroend

!macro SayInstaller
  !insertmacro Say Welcome \
    "Fine-tune a small language model on your own computer, with your own data.$\r$\n$\r$\nThis copies the program for \
      you alone; you don't need an administrator. The first start then downloads Python, PyTorch and the other libraries \
      that fit your graphics card, once: 0.6 GB, or 3.3 GB with an NVIDIA card. That needs 4 GB of free disk space, or \
      11 GB with a card.$\r$\n$\r$\nAn older version is replaced. Your runs, models, datasets and settings are kept." \
    "अपने ही कंप्यूटर पर, अपने ही डेटा से एक छोटे लैंग्वेज मॉडल को फ़ाइन-ट्यून करें।$\r$\n$\r$\nप्रोग्राम सिर्फ़ आपके लिए इंस्टॉल होगा; \
      एडमिनिस्ट्रेटर की ज़रूरत नहीं है। पहली बार खोलने पर Python, PyTorch और आपके ग्राफ़िक्स कार्ड के लिए सही लाइब्रेरी डाउनलोड होंगी: \
      एक बार 0.6 GB, या NVIDIA कार्ड हो तो 3.3 GB। इसके लिए डिस्क पर 4 GB खाली जगह चाहिए, कार्ड हो तो \
      11 GB।$\r$\n$\r$\nपुराने वर्शन की जगह नया आ जाएगा। आपके रन, मॉडल, डेटासेट और सेटिंग्स बने रहेंगे।"
  !insertmacro Say StartNow "Start ${PRODUCT} now" "${PRODUCT} अभी खोलें"
  !insertmacro Say OldWindows "${PRODUCT} needs Windows 10 or newer." "${PRODUCT} के लिए Windows 10 या उससे नया चाहिए।"
  !insertmacro Say Busy "${PRODUCT} is being installed or removed right now. Wait until that's done." \
    "${PRODUCT} अभी इंस्टॉल हो रहा है या हटाया जा रहा है। उसके पूरा होने तक रुकें।"
  !insertmacro Say LongPath \
    "This folder's path has $0 characters. Windows allows 260 here for a file's whole path, and with more than \
      ${LONGEST_SAFE} some of the libraries' files may not fit. A shorter one, such as C:\SLM Studio, is safe.\
      $\r$\n$\r$\nInstall here anyway?" \
    "इस फ़ोल्डर के पाथ में $0 अक्षर हैं। यहाँ Windows किसी फ़ाइल के पूरे पाथ के लिए 260 अक्षर देता है, और ${LONGEST_SAFE} से ज़्यादा होने पर \
      लाइब्रेरी की कुछ फ़ाइलें शायद न आ पाएँ। छोटा पाथ, जैसे C:\SLM Studio, सुरक्षित है।$\r$\n$\r$\nफिर भी यहीं इंस्टॉल करें?"
  !insertmacro Say FolderOfData \
    "$2 is where your runs, models and datasets are kept. Choose another folder for the program." \
    "$2 में आपके रन, मॉडल और डेटासेट रखे हैं। प्रोग्राम के लिए कोई दूसरा फ़ोल्डर चुनें।"
  !insertmacro Say AlreadyElsewhere \
    "${PRODUCT} is already installed in $0. Choose that folder, or remove it there first." \
    "${PRODUCT} पहले से $0 में इंस्टॉल है। वही फ़ोल्डर चुनें, या पहले वहाँ से हटाएँ।"
  !insertmacro Say FolderOfOthers \
    "$INSTDIR has files in it that aren't ${PRODUCT}'s. Choose an empty folder or a new one." \
    "$INSTDIR में ऐसी फ़ाइलें हैं जो ${PRODUCT} की नहीं हैं। कोई खाली या नया फ़ोल्डर चुनें।"
  !insertmacro Say NotAFolder "$INSTDIR is a file. Choose a folder." "$INSTDIR एक फ़ाइल है। कोई फ़ोल्डर चुनें।"
  !insertmacro Say NotWritable "$INSTDIR can't be written to. Choose another folder." \
    "$INSTDIR में लिखा नहीं जा सकता। कोई दूसरा फ़ोल्डर चुनें।"
  !insertmacro Say RemovingOld "Removing the previous version" "पिछला वर्शन हटाया जा रहा है"
  !insertmacro Say HeldOpen \
    "A program holds $INSTDIR\$0 open. Close it, then press Retry. The previous version still works." \
    "किसी प्रोग्राम ने $INSTDIR\$0 को खोल रखा है। उसे बंद करें, फिर “पुनः प्रयास करें” दबाएँ। पिछला वर्शन अब भी काम करता है।"
  !insertmacro Say NotReplaced \
    "$INSTDIR\$R9 couldn't be replaced. Restart the computer and install again." \
    "$INSTDIR\$R9 को बदला नहीं जा सका। कंप्यूटर रीस्टार्ट करके फिर से इंस्टॉल करें।"
  !insertmacro Say Shortcut "Fine-tune a small language model on your own computer" \
    "अपने ही कंप्यूटर पर एक छोटे लैंग्वेज मॉडल को फ़ाइन-ट्यून करें"
  !insertmacro Say Running \
    "${PRODUCT} is running. Close it first, and let a training run finish or stop it. Then press Retry." \
    "${PRODUCT} चल रहा है। पहले उसे बंद करें; कोई ट्रेनिंग चल रही हो तो उसे पूरा होने दें या रोकें। फिर “पुनः प्रयास करें” दबाएँ।"
!macroend

!macro SayUninstaller
  !insertmacro Say NotOurFolder "$INSTDIR isn't a folder of ${PRODUCT}, so nothing is removed from it." \
    "$INSTDIR ${PRODUCT} का फ़ोल्डर नहीं है, इसलिए उसमें से कुछ नहीं हटाया जाएगा।"
  !insertmacro Say RemoveTitle "Remove ${PRODUCT}" "${PRODUCT} हटाएँ"
  !insertmacro Say RemoveSubtitle "This removes the program, its Python environment and its shortcuts." \
    "प्रोग्राम, उसका Python एनवायरनमेंट और शॉर्टकट हटाए जाएँगे।"
  !insertmacro Say RemovedFrom "${PRODUCT} will be removed from:$\r$\n$INSTDIR" \
    "${PRODUCT} यहाँ से हटाया जाएगा:$\r$\n$INSTDIR"
  !insertmacro Say DeleteData "Also &delete my runs, models, datasets and settings in this folder:" \
    "इस फ़ोल्डर से मेरे रन, मॉडल, डेटासेट और सेटिंग्स &भी मिटाएँ:"
  !insertmacro Say KeptData \
    "Otherwise they're kept, and you find them again when you reinstall ${PRODUCT}. A folder that you have chosen for \
      them elsewhere is always kept." \
    "नहीं तो वे बने रहेंगे, और ${PRODUCT} दोबारा इंस्टॉल करने पर फिर मिल जाएँगे। उनके लिए आपने कहीं और जो फ़ोल्डर चुना है, वह हमेशा बना \
      रहता है।"
  !insertmacro Say Remove "&Remove" "&हटाएँ"
  !insertmacro Say Removing "Removing the program and its Python environment" \
    "प्रोग्राम और उसका Python एनवायरनमेंट हटाया जा रहा है"
  !insertmacro Say LeftThere "Files that aren't ${PRODUCT}'s were left in $INSTDIR" \
    "जो फ़ाइलें ${PRODUCT} की नहीं हैं, वे $INSTDIR में छोड़ दी गईं"
  !insertmacro Say FilesHeldOpen \
    "A program holds files in $INSTDIR open. Close it, then press Retry; or press Cancel and remove ${PRODUCT} later." \
    "किसी प्रोग्राम ने $INSTDIR की फ़ाइलें खोल रखी हैं। उसे बंद करें, फिर “पुनः प्रयास करें” दबाएँ; या “रद्द करें” दबाकर ${PRODUCT} को बाद में हटाएँ।"
!macroend

!macro SayLauncher
  !insertmacro Say Busy "${PRODUCT} is being installed or removed right now. Start it when that's done." \
    "${PRODUCT} अभी इंस्टॉल हो रहा है या हटाया जा रहा है। उसके पूरा होने पर खोलें।"
  !insertmacro Say PartsMissing \
    "Parts of ${PRODUCT} are missing in $INSTDIR. Install it again; your runs, models, datasets and settings are kept." \
    "$INSTDIR में ${PRODUCT} के कुछ हिस्से नहीं हैं। इसे फिर से इंस्टॉल करें; आपके रन, मॉडल, डेटासेट और सेटिंग्स बने रहेंगे।"
  !insertmacro Say NoSuchPython \
    "SLMSTUDIO_PYTHON names $0, but there's no such file. Correct it, or remove this variable to have Python downloaded." \
    "SLMSTUDIO_PYTHON में $0 लिखा है, पर ऐसी कोई फ़ाइल नहीं है। उसे ठीक करें, या यह वेरिएबल हटाएँ ताकि Python डाउनलोड हो सके।"
  !insertmacro Say NotStarted \
    "$Python couldn't be started. Check that no virus scanner blocks it, or install ${PRODUCT} again." \
    "$Python शुरू नहीं हो सका। देखें कि कोई एंटीवायरस उसे रोक तो नहीं रहा, या ${PRODUCT} को फिर से इंस्टॉल करें।"
  !insertmacro Say GettingPython "Getting Python" "Python डाउनलोड हो रहा है"
  !insertmacro Say GettingPythonMore "About 25 MB, once. Then ${PRODUCT} sets itself up." \
    "करीब 25 MB, सिर्फ़ एक बार। इसके बाद ${PRODUCT} का सेटअप होगा।"
  !insertmacro Say LogPlace "Log: ${LOG}" "लॉग: ${LOG}"
  !insertmacro Say Retry "&Retry" "पुनः &प्रयास करें"
  !insertmacro Say Downloading "Python ${PYTHON_WANTED} is being downloaded and unpacked …" \
    "Python ${PYTHON_WANTED} डाउनलोड और अनपैक हो रहा है …"
  !insertmacro Say NoUv "${NO_UV}" \
    "$INSTDIR\uv.exe शुरू नहीं हो सका। देखें कि कोई एंटीवायरस उसे रोक तो नहीं रहा, फिर “पुनः प्रयास करें” दबाएँ।"
  !insertmacro Say NoPython "${NO_PYTHON}" \
    "Python डाउनलोड नहीं हो सका। देखें कि यह कंप्यूटर इंटरनेट से जुड़ा है (और नेटवर्क में प्रॉक्सी हो तो HTTPS_PROXY में उसका पता है), फिर \
      “पुनः प्रयास करें” दबाएँ।"
!macroend
