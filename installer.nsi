; The Windows installer, for one user, without an administrator. Built on Linux by:
;   python3 packaging/build.py windows
; which passes STAGE (the folder with what is installed), OUTFILE, ICON, SIDE, VERSION, NUMBERS (as 1.2.3.0)
; and KILOBYTES.
;
; Silent: /S, with the folder as the last word: /D=C:\Some folder (no quotes).
; Exit status: 0 done, 1 cancelled, 2 failed, 3 the folder is refused, 4 another installation is running,
; 5 SLM Studio is running.

Target amd64-unicode
SetCompressor zlib ; 5 MB more than with lzma, of gigabytes to come, and built and unpacked in seconds
!ifndef STAGE
  !error "Build it with: python3 packaging/build.py windows"
!endif
!include MUI2.nsh
!include nsDialogs.nsh
!include WinVer.nsh
!include packaging/windows/common.nsh
!include packaging/windows/uninstaller.nsh

!define LONGEST_SAFE 56 ; characters: the libraries' longest file and Windows' limit of 260 leave these for the folder

Name "${PRODUCT}"
OutFile "${OUTFILE}"
InstallDir "$LOCALAPPDATA\Programs\SLM Studio"
InstallDirRegKey HKCU "${ENTRY}" "InstallLocation"
RequestExecutionLevel user
ManifestDPIAware true
ManifestLongPathAware true ; the uninstaller meets what the libraries have put there
AllowSkipFiles off
SetOverwrite on
BrandingText "${PRODUCT} ${VERSION}"
VIProductVersion "${NUMBERS}"
VIFileVersion "${NUMBERS}"
VIAddVersionKey ProductName "${PRODUCT}"
VIAddVersionKey ProductVersion "${VERSION}"
VIAddVersionKey FileVersion "${VERSION}"
VIAddVersionKey FileDescription "${PRODUCT} Setup"
VIAddVersionKey CompanyName "${PRODUCT}"
VIAddVersionKey LegalCopyright "${PRODUCT}"

!define MUI_ICON "${ICON}"
!define MUI_UNICON "${ICON}"
!define MUI_WELCOMEFINISHPAGE_BITMAP "${SIDE}"
!define MUI_ABORTWARNING
!define MUI_WELCOMEPAGE_TEXT $(Welcome)
!insertmacro MUI_PAGE_WELCOME
!define MUI_PAGE_CUSTOMFUNCTION_LEAVE LeaveFolderPage
!insertmacro MUI_PAGE_DIRECTORY
!insertmacro MUI_PAGE_INSTFILES
!define MUI_FINISHPAGE_RUN "$INSTDIR\SLMStudio.exe"
!define MUI_FINISHPAGE_RUN_TEXT $(StartNow)
!insertmacro MUI_PAGE_FINISH
!insertmacro UninstallerPages
!insertmacro MUI_LANGUAGE English
!insertmacro MUI_LANGUAGE Hindi
!include packaging/windows/words.nsh
!insertmacro SayInstaller
!insertmacro SayUninstaller
!insertmacro DefineProgramInUse ""
!insertmacro DefineProgramInUse "un."

Var Refusal ; why the chosen folder cannot be used; empty when it can

Function .onInit
  ${IfNot} ${AtLeastWin10}
    MessageBox MB_ICONSTOP $(OldWindows) /SD IDOK
    SetErrorLevel 2
    Quit
  ${EndIf}
  !insertmacro TakeLock
  ${If} $Lock = 0
    MessageBox MB_ICONEXCLAMATION $(Busy) /SD IDOK
    SetErrorLevel ${STATUS_BUSY}
    Quit
  ${EndIf}
  ${If} ${Silent}
    Call CheckFolder
    ${If} $Refusal != ""
      SetErrorLevel ${STATUS_FOLDER}
      Quit
    ${EndIf}
  ${EndIf}
FunctionEnd

Function LeaveFolderPage
  Call CheckFolder
  ${If} $Refusal != ""
    MessageBox MB_ICONEXCLAMATION "$Refusal"
    Abort
  ${EndIf}
  StrLen $0 $INSTDIR
  SetRegView 64
  ReadRegDWORD $1 HKLM "SYSTEM\CurrentControlSet\Control\FileSystem" "LongPathsEnabled"
  ${If} $0 > ${LONGEST_SAFE}
  ${AndIf} $1 <> 1
    MessageBox MB_YESNO|MB_ICONEXCLAMATION $(LongPath) IDYES use_it
    Abort
    use_it:
  ${EndIf}
FunctionEnd

; Only a new folder, an empty one or our own is used: whatever else lies in a folder is somebody's.
Function CheckFolder
  StrCpy $Refusal ""
  ReadRegStr $0 HKCU "${ENTRY}" "InstallLocation"
  StrLen $1 "$LOCALAPPDATA\slmstudio"
  StrCpy $2 "$INSTDIR\" $1
  StrCpy $3 "$INSTDIR\" 1 $1
  ${If} $2 == "$LOCALAPPDATA\slmstudio"
  ${AndIf} $3 == "\"
    StrCpy $Refusal $(FolderOfData)
  ${ElseIf} $0 != ""
  ${AndIf} $0 != $INSTDIR
  ${AndIf} ${FileExists} "$0\${MARK}"
    StrCpy $Refusal $(AlreadyElsewhere)
  ${ElseIf} ${FileExists} "$INSTDIR\${MARK}"
    Return
  ${ElseIf} ${FileExists} "$INSTDIR\*.*"
    Call IsEmpty
    Pop $0
    ${If} $0 = 0
      StrCpy $Refusal $(FolderOfOthers)
    ${EndIf}
  ${ElseIf} ${FileExists} "$INSTDIR"
    StrCpy $Refusal $(NotAFolder)
  ${EndIf}
FunctionEnd

; Push 1 when $INSTDIR holds nothing.
Function IsEmpty
  StrCpy $2 1
  FindFirst $0 $1 "$INSTDIR\*.*"
  ${DoWhile} $1 != ""
    ${If} $1 != "."
    ${AndIf} $1 != ".."
      StrCpy $2 0
    ${EndIf}
    FindNext $0 $1
  ${Loop}
  FindClose $0
  Push $2
FunctionEnd

Section
  AddSize ${KILOBYTES} ; the files lie in functions, where NSIS does not count them
  ClearErrors
  CreateDirectory "$INSTDIR"
  ${IfNot} ${FileExists} "$INSTDIR\${MARK}"
    FileOpen $0 "$INSTDIR\${MARK}" w
    FileWrite $0 "${PRODUCT} is installed in this folder and keeps its Python environment here.$\r$\n"
    FileClose $0
  ${EndIf}
  ${IfNot} ${FileExists} "$INSTDIR\${MARK}"
    MessageBox MB_ICONSTOP $(NotWritable) /SD IDOK
    SetErrorLevel 2
    Abort
  ${EndIf}
  !insertmacro Repair
  Call WaitUntilClosed
  Call Unpack
  Call PutInPlace
  Call Register
  !insertmacro FreeLock
SectionEnd

; A program that runs is never pulled away from under its user.
Function WaitUntilClosed
  again:
  Call ProgramInUse
  Pop $0
  ${If} $0 <> 0
    MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION $(Running) /SD IDCANCEL IDRETRY again
    SetErrorLevel ${STATUS_RUNNING}
    Quit
  ${EndIf}
FunctionEnd

; Everything beside what is there. app.new appears whole or not at all.
Function Unpack
  SetOutPath "$INSTDIR\app.part"
  File /r "${STAGE}/app/*"
  SetOutPath "$INSTDIR" ; a folder that is somebody's current one cannot be renamed
  File "/oname=uv.exe.new" "${STAGE}/uv.exe"
  File "/oname=uv-LICENSE.txt.new" "${STAGE}/uv-LICENSE.txt"
  File "/oname=SLMStudio.exe.new" "${STAGE}/SLMStudio.exe"
  File "/oname=manifest.sha256.new" "${STAGE}/manifest.sha256"
  WriteUninstaller "$INSTDIR\Uninstall.exe.new"
  Push "app.part"
  Push "app.new"
  Call RenamePatiently
FunctionEnd

; Every version's uv and launcher serve every version's application, so they come first; then two renames make it the
; new version, and between them the launcher knows the way back.
Function PutInPlace
  !insertmacro Replace "uv.exe"
  !insertmacro Replace "uv-LICENSE.txt"
  !insertmacro Replace "Uninstall.exe"
  !insertmacro Replace "SLMStudio.exe"
  ${If} ${FileExists} "$INSTDIR\app\*.*"
    Push "app"
    Push "app.old"
    Call RenamePatiently
  ${EndIf}
  Push "app.new"
  Push "app"
  Call RenamePatiently
  !insertmacro Replace "manifest.sha256"
  DetailPrint $(RemovingOld)
  SetDetailsPrint none ; a line for each file takes longer than the file
  RMDir /r "$INSTDIR\app.old"
  SetDetailsPrint both
FunctionEnd

; Rename in $INSTDIR, from the name pushed first to the second. A virus scanner may hold a fresh folder for a moment.
Function RenamePatiently
  Pop $1
  Pop $0
  StrCpy $2 0
  ${Do}
    ClearErrors
    Rename "$INSTDIR\$0" "$INSTDIR\$1"
    ${IfNot} ${Errors}
      Return
    ${EndIf}
    IntOp $2 $2 + 1
    ${If} $2 >= 40
      MessageBox MB_RETRYCANCEL|MB_ICONEXCLAMATION $(HeldOpen) /SD IDCANCEL IDRETRY again
      !insertmacro Repair
      SetErrorLevel ${STATUS_RUNNING}
      Quit
      again:
      StrCpy $2 0
    ${EndIf}
    Sleep 250
  ${Loop}
FunctionEnd

Function Register
  CreateShortcut "$SMPROGRAMS\${PRODUCT}.lnk" "$INSTDIR\SLMStudio.exe" "" "$INSTDIR\SLMStudio.exe" 0 SW_SHOWNORMAL "" \
    $(Shortcut)
  ReadRegStr $0 HKCU "${ENTRY}" "DisplayVersion"
  ${If} $0 == "" ; who has deleted the desktop's shortcut does not get it back with every upgrade
    CreateShortcut "$DESKTOP\${PRODUCT}.lnk" "$INSTDIR\SLMStudio.exe"
  ${EndIf}
  WriteRegStr HKCU "${ENTRY}" "InstallLocation" "$INSTDIR"
  WriteRegStr HKCU "${ENTRY}" "UninstallString" '"$INSTDIR\Uninstall.exe"'
  WriteRegStr HKCU "${ENTRY}" "QuietUninstallString" '"$INSTDIR\Uninstall.exe" /S'
  WriteRegStr HKCU "${ENTRY}" "DisplayName" "${PRODUCT}"
  WriteRegStr HKCU "${ENTRY}" "DisplayIcon" "$INSTDIR\SLMStudio.exe"
  WriteRegStr HKCU "${ENTRY}" "Publisher" "${PRODUCT}"
  WriteRegDWORD HKCU "${ENTRY}" "EstimatedSize" ${KILOBYTES}
  WriteRegDWORD HKCU "${ENTRY}" "NoModify" 1
  WriteRegDWORD HKCU "${ENTRY}" "NoRepair" 1
  WriteRegStr HKCU "${ENTRY}" "DisplayVersion" "${VERSION}"
FunctionEnd

; A full disk, or Cancel at a question: what was there before still works, and nothing half made is left.
Function .onInstFailed
  SetOutPath "$TEMP"
  !insertmacro Repair
  !insertmacro DeleteNew
  ${IfNot} ${FileExists} "$INSTDIR\app\*.*"
  ${AndIfNot} ${FileExists} "$INSTDIR\environment\*.*"
    Delete "$INSTDIR\Uninstall.exe"
    Delete "$INSTDIR\SLMStudio.exe"
    Delete "$INSTDIR\uv.exe"
    Delete "$INSTDIR\uv-LICENSE.txt"
    Delete "$INSTDIR\${MARK}"
    RMDir "$INSTDIR"
  ${EndIf}
  SetErrorLevel 2
FunctionEnd
