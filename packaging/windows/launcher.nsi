; SLMStudio.exe, which the shortcuts open. It ends what an interrupted upgrade left, finds a Python, and starts
; bootstrap.py with it: that opens the window, or sets up first what is missing. Where there is no Python yet, uv.exe
; fetches one, shown in a small window with Cancel and Retry.
;
; SLMSTUDIO_PYTHON, the path of a python.exe, stands in for uv's Python: for computers without a network.
; Built by packaging/build_windows.py, which passes OUTFILE, ICON, VERSION and NUMBERS.

Target amd64-unicode
!include MUI2.nsh
!include nsDialogs.nsh
!include packaging/windows/common.nsh

!define PYTHON_WANTED "3.12"
!define LOG "$INSTDIR\launcher.log"
!define /ifndef PBS_MARQUEE 8
!define TICK 500 ; milliseconds between two looks at uv
!define CREATE_NO_WINDOW 0x08000000
!define STARTF_USESTDHANDLES 0x100
!define UTF8 65001
!define TAIL 900 ; bytes of the log that are shown: a string here holds 1023 characters
!define NO_UV "$INSTDIR\uv.exe couldn't be started. Check that no virus scanner blocks it, then press Retry."
!define NO_PYTHON "Python couldn't be downloaded. Check that this computer reaches the internet (and that HTTPS_PROXY \
  names your network's proxy, if it has one), then press Retry."

Name "${PRODUCT}"
Caption "${PRODUCT}"
OutFile "${OUTFILE}"
RequestExecutionLevel user
ManifestDPIAware true

BrandingText "${PRODUCT} ${VERSION}"
VIProductVersion "${NUMBERS}"
VIFileVersion "${NUMBERS}"
VIAddVersionKey ProductName "${PRODUCT}"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "${PRODUCT}"
VIAddVersionKey CompanyName "${PRODUCT}"
VIAddVersionKey LegalCopyright "${PRODUCT}"

!define MUI_ICON "${ICON}"
!define MUI_CUSTOMFUNCTION_ABORT StopUv
!define MUI_DISABLE_INSERT_LANGUAGE_AFTER_PAGES_WARNING ; the only page is a custom one
Page custom FetchPage LeaveFetchPage
!insertmacro MUI_LANGUAGE English
!insertmacro MUI_LANGUAGE Hindi
!include packaging/windows/words.nsh
!insertmacro SayLauncher

Var Python   ; the pythonw.exe that runs bootstrap.py; empty while there is none
Var Uv       ; handle of the process; 0 when none runs
Var Sentence ; controls of the page
Var Bar
Var Output

!pragma warning disable 8000 ; NSIS wants a section, and this one has nothing to do
Section
SectionEnd

Function .onInit
  StrCpy $INSTDIR $EXEDIR
  ${For} $R0 1 30 ; another launcher, of a second double-click, holds it for a moment only
    !insertmacro TakeLock
    ${If} $Lock <> 0
      ${Break}
    ${EndIf}
    Sleep 100
  ${Next}
  ${If} $Lock = 0
    MessageBox MB_ICONEXCLAMATION $(Busy) /SD IDOK
    SetErrorLevel ${STATUS_BUSY}
    Quit
  ${EndIf}
  !insertmacro Repair
  !insertmacro FreeLock
  ${IfNot} ${FileExists} "$INSTDIR\app\${FIRST_FILE}"
  ${OrIfNot} ${FileExists} "$INSTDIR\uv.exe"
    MessageBox MB_ICONSTOP $(PartsMissing) /SD IDOK
    SetErrorLevel 2
    Quit
  ${EndIf}
  Call PrepareEnvironment
  Call FindPython
  ${If} $Python != ""
    Call StartProgram
    Quit
  ${EndIf}
  ${If} ${Silent} ; nothing is fetched unseen
    SetErrorLevel 2
    Quit
  ${EndIf}
FunctionEnd

!macro SetVariable NAME VALUE
  System::Call 'kernel32::SetEnvironmentVariableW(w "${NAME}", w "${VALUE}")'
!macroend

; For uv, and for all that bootstrap.py starts: everything stays in this folder, and nothing of another Python comes in.
Function PrepareEnvironment
  !insertmacro SetVariable UV_PYTHON_INSTALL_DIR "$INSTDIR\python"
  !insertmacro SetVariable UV_CACHE_DIR "$INSTDIR\cache"
  !insertmacro SetVariable PIP_CACHE_DIR "$INSTDIR\cache\pip"
  !insertmacro SetVariable UV_PYTHON_PREFERENCE "only-managed"
  !insertmacro SetVariable UV_NO_CONFIG "1"
  System::Call 'kernel32::SetEnvironmentVariableW(w "PYTHONHOME", p 0)'
  System::Call 'kernel32::SetEnvironmentVariableW(w "PYTHONPATH", p 0)'
FunctionEnd

; The environment's own Python comes last: bootstrap.py may have to make the environment again, which Windows refuses
; while a program of it runs.
Function FindPython
  StrCpy $Python ""
  ReadEnvStr $0 "SLMSTUDIO_PYTHON"
  ${If} $0 != ""
    ${IfNot} ${FileExists} $0
      MessageBox MB_ICONSTOP $(NoSuchPython) /SD IDOK
      SetErrorLevel 2
      Quit
    ${EndIf}
    ${GetParent} $0 $1
    StrCpy $Python "$1\pythonw.exe"
    ${IfNot} ${FileExists} $Python
      StrCpy $Python $0
    ${EndIf}
    Return
  ${EndIf}
  FindFirst $0 $1 "$INSTDIR\python\cpython-*"
  ${DoWhile} $1 != ""
    ${If} ${FileExists} "$INSTDIR\python\$1\pythonw.exe"
      StrCpy $Python "$INSTDIR\python\$1\pythonw.exe"
      ${Break}
    ${EndIf}
    FindNext $0 $1
  ${Loop}
  FindClose $0
  ${If} $Python == ""
  ${AndIf} ${FileExists} "$INSTDIR\environment\Scripts\pythonw.exe"
    StrCpy $Python "$INSTDIR\environment\Scripts\pythonw.exe"
  ${EndIf}
FunctionEnd

Function StartProgram
  SetErrorLevel 0 ; Quit alone would mean 2
  SetOutPath "$PROFILE" ; the program's current folder: never this one, which could not be replaced then
  ClearErrors
  Exec '"$Python" "$INSTDIR\app\packaging\bootstrap.py" start'
  ${If} ${Errors}
    MessageBox MB_ICONSTOP $(NotStarted) /SD IDOK
    SetErrorLevel 2
  ${EndIf}
FunctionEnd

Function FetchPage
  !insertmacro MUI_HEADER_TEXT $(GettingPython) $(GettingPythonMore)
  nsDialogs::Create 1018
  Pop $0
  ${NSD_CreateLabel} 0 0 100% 26u ""
  Pop $Sentence
  ${NSD_CreateProgressBar} 0 28u 100% 10u ""
  Pop $Bar
  ${NSD_AddStyle} $Bar ${PBS_MARQUEE}
  nsDialogs::CreateControl ${__NSD_Text_CLASS} \
    ${DEFAULT_STYLES}|${WS_TABSTOP}|${WS_VSCROLL}|${ES_MULTILINE}|${ES_READONLY}|${ES_AUTOVSCROLL} \
    ${__NSD_Text_EXSTYLE} 0 44u 100% 84u ""
  Pop $Output
  ${NSD_CreateLabel} 0 130u 100% 10u $(LogPlace)
  Pop $0
  GetDlgItem $0 $HWNDPARENT 3
  ShowWindow $0 ${SW_HIDE}
  GetDlgItem $0 $HWNDPARENT 1
  SendMessage $0 ${WM_SETTEXT} 0 "STR:$(Retry)"
  Call StartUv
  nsDialogs::Show
FunctionEnd

; Retry.
Function LeaveFetchPage
  ${If} $Uv P= 0
    Call StartUv
  ${EndIf}
  Abort ; the page stays until there is a Python
FunctionEnd

Function StopUv
  ${If} $Uv P<> 0
    System::Call 'kernel32::TerminateProcess(p $Uv, i 1)' ; the next start continues
  ${EndIf}
FunctionEnd

; Its output goes straight into the log.
Function StartUv
  GetDlgItem $0 $HWNDPARENT 2
  SendMessage $HWNDPARENT ${WM_NEXTDLGCTL} $0 1 ; a disabled button that has the focus would swallow every key
  GetDlgItem $0 $HWNDPARENT 1
  EnableWindow $0 0
  SendMessage $Bar ${PBM_SETMARQUEE} 1 50
  ${NSD_SetText} $Sentence $(Downloading)
  System::Call '*(&i4 24, &i4 0, p 0, i 1, &i4 0) p .r1' ; SECURITY_ATTRIBUTES: uv inherits the log
  System::Call 'kernel32::CreateFileW(w "${LOG}", i 0x40000000, i 7, p r1, i 2, i 0x80, p 0) p .r2'
  System::Call '*(&i4 104, &i4 0, p 0, p 0, p 0, i 0, i 0, i 0, i 0, i 0, i 0, i 0, i ${STARTF_USESTDHANDLES}, \
    &i4 0, &i4 0, p 0, p 0, p r2, p r2) p .r3' ; STARTUPINFOW
  System::Call '*(p 0, p 0, i 0, i 0) p .r4' ; PROCESS_INFORMATION
  StrCpy $5 '"$INSTDIR\uv.exe" --system-certs python install ${PYTHON_WANTED} --no-bin --no-registry'
  System::Call 'kernel32::CreateProcessW(p 0, w r5, p 0, p 0, i 1, i ${CREATE_NO_WINDOW}, p 0, p 0, p r3, p r4) i .r6'
  StrCpy $Uv 0
  ${If} $6 <> 0
    System::Call '*$4(p .s, p .r7)'
    Pop $Uv
    System::Call 'kernel32::CloseHandle(p r7)'
  ${EndIf}
  System::Call 'kernel32::CloseHandle(p r2)'
  System::Free $1
  System::Free $3
  System::Free $4
  ${If} $Uv P= 0
    StrCpy $0 $(NoUv)
    StrCpy $8 "${NO_UV}"
    Call ShowFailure
  ${Else}
    ${NSD_CreateTimer} Tick ${TICK}
  ${EndIf}
FunctionEnd

Function Tick
  Call ShowOutput
  System::Call 'kernel32::WaitForSingleObject(p $Uv, i 0) i .r0'
  ${If} $0 <> 0
    Return
  ${EndIf}
  ${NSD_KillTimer} Tick
  System::Call 'kernel32::GetExitCodeProcess(p $Uv, *i .r0)'
  System::Call 'kernel32::CloseHandle(p $Uv)'
  StrCpy $Uv 0
  Call ShowOutput
  ${If} $0 = 0
    Call FindPython
    ${If} $Python != ""
      Call StartProgram
      Quit
    ${EndIf}
  ${EndIf}
  StrCpy $0 $(NoPython)
  StrCpy $8 "${NO_PYTHON}"
  Call ShowFailure
FunctionEnd

; Show the sentence in $0, write that in $8 under uv's own words, and offer Retry. The log is in English as uv's words
; are, and because FileWrite doesn't write UTF-8.
Function ShowFailure
  ${NSD_SetText} $Sentence $0
  FileOpen $1 "${LOG}" a
  FileSeek $1 0 END
  FileWrite $1 "$8$\r$\n"
  FileClose $1
  SendMessage $Bar ${PBM_SETMARQUEE} 0 0
  GetDlgItem $1 $HWNDPARENT 1
  EnableWindow $1 1
  SendMessage $HWNDPARENT ${WM_NEXTDLGCTL} $1 1
FunctionEnd

; The end of the log, which uv may be writing just now.
Function ShowOutput
  Push $0
  System::Call 'kernel32::CreateFileW(w "${LOG}", i 0x80000000, i 7, p 0, i 3, i 0x80, p 0) p .r1'
  ${If} $1 P= -1
    Pop $0
    Return
  ${EndIf}
  System::Call 'kernel32::GetFileSize(p r1, p 0) i .r2'
  ${If} $2 > ${TAIL}
    IntOp $3 $2 - ${TAIL}
    System::Call 'kernel32::SetFilePointer(p r1, i r3, p 0, i 0)'
  ${EndIf}
  System::Alloc 1024
  Pop $4
  System::Call 'kernel32::ReadFile(p r1, p r4, i ${TAIL}, *i .r5, p 0)'
  System::Call 'kernel32::CloseHandle(p r1)'
  StrCpy $6 ""
  ${If} $5 > 0
    System::Call 'kernel32::MultiByteToWideChar(i ${UTF8}, i 0, p r4, i r5, w .r6, i 1000)'
    ${WordReplace} $6 "$\r" "" "+" $6
    ${WordReplace} $6 "$\n" "$\r$\n" "+" $6
  ${EndIf}
  System::Free $4
  ${NSD_GetText} $Output $7
  ${If} $6 != $7
    ${NSD_SetText} $Output $6
    SendMessage $Output ${EM_LINESCROLL} 0 1000
  ${EndIf}
  Pop $0
FunctionEnd
